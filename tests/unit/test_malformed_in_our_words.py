"""What a client hears of bytes that are no message: nothing that Python or a library said."""

from __future__ import annotations

import re

import msgpack
import pytest
from lessor_protocol import codec
from lessor_protocol.codec import JSON, MSGPACK
from lessor_protocol.errors import Problem

THEIRS = re.compile(r"sys\.|strict_map|Error|Expecting|unpack|char \d|codec|recursion|max_\w+_len")


@pytest.mark.parametrize(
    ("data", "media_type", "why"),
    [
        (b"9" * 5_000, JSON, "a number has too many digits"),
        (b"[" * 5_000, JSON, "nests at most 16 deep"),
        (b'{"a": 1,\n}', JSON, "broken at line 2, column 1"),
        (b'"\xff"', JSON, "not UTF-8"),
        (b"NaN", JSON, "NaN is not a JSON number"),
        (b"", JSON, "broken at line 1, column 1"),
        (b"\x81\x01\x02", MSGPACK, "keys that are no text"),
        (b"\x91" * 5_000, MSGPACK, "nests at most 16 deep"),
        (b"\x01\x02", MSGPACK, "something follows it"),
        (b"\xa1\xff", MSGPACK, "not UTF-8"),
        (b"\x92\x01", MSGPACK, "ends early"),
        (b"\xc1", MSGPACK, "not part of the protocol"),
        (b"", MSGPACK, "ends early"),
        (b"\xdd\x7f\xff\xff\xff", MSGPACK, "not part of the protocol"),
        (msgpack.packb(msgpack.ExtType(7, b"x")), MSGPACK, "extension type 7 is not part"),
        (msgpack.packb(msgpack.Timestamp(1)), MSGPACK, "not part of the protocol"),
    ],
)
def test_bytes_that_are_no_message_are_refused_in_our_words(
    data: bytes, media_type: str, why: str
) -> None:
    with pytest.raises(Problem) as caught:
        codec.decode(data, media_type)
    assert caught.value.code == "malformed"
    assert why in caught.value.detail
    assert not THEIRS.search(caught.value.detail)
