"""The codec: round trips in both media types, and nothing but ``Problem`` for what is not ours."""

import json

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lessor_protocol import codec
from lessor_protocol.errors import Problem

MEDIA_TYPES = [codec.JSON, codec.MSGPACK]

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def outcome(data: bytes, media_type: str) -> str:
    try:
        codec.decode(data, media_type)
    except Problem as problem:
        return problem.code
    return "read"


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
@given(value=VALUES)
def test_what_is_encoded_is_decoded_to_the_same(media_type: str, value: object) -> None:
    assert codec.decode(codec.encode(value, media_type), media_type) == value


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_problems(media_type: str, data: bytes) -> None:
    assert outcome(data, media_type) in ("read", "malformed")


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
@given(value=VALUES, cut=st.integers(1, 30))
def test_a_truncated_message_is_a_value_of_its_own_or_malformed(
    media_type: str, value: object, cut: int
) -> None:
    data = codec.encode(value, media_type)
    assert outcome(data[:-cut], media_type) in ("read", "malformed")


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
@pytest.mark.parametrize("depth", [codec.MAX_DEPTH + 1, 500, 100_000])
def test_deep_nesting_is_malformed(media_type: str, depth: int) -> None:
    data = b"[" * depth + b"]" * depth if media_type == codec.JSON else b"\x91" * depth + b"\x01"
    with pytest.raises(Problem) as caught:
        codec.decode(data, media_type)
    assert caught.value.code == "malformed"


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_nesting_up_to_the_limit_is_read(media_type: str) -> None:
    value = nested(codec.MAX_DEPTH - 1)
    assert codec.decode(codec.encode(value, media_type), media_type) == value


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_too_many_values_are_malformed(media_type: str) -> None:
    value = [[0] * 1_000 for _ in range(11)]
    with pytest.raises(Problem) as caught:
        codec.decode(codec.encode(value, media_type), media_type)
    assert caught.value.code == "malformed"


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_a_message_over_the_limit_is_too_large(media_type: str) -> None:
    with pytest.raises(Problem) as caught:
        codec.decode(b" " * (codec.MAX_BYTES + 1), media_type)
    assert caught.value.code == "too_large"


def test_another_media_type_is_unsupported() -> None:
    with pytest.raises(Problem) as caught:
        codec.decode(b"{}", "text/plain")
    assert caught.value.code == "unsupported_type"


@pytest.mark.parametrize("data", [b"NaN", b"[Infinity]", b'{"a":-Infinity}'])
def test_json_numbers_that_are_none_are_malformed(data: bytes) -> None:
    with pytest.raises(Problem) as caught:
        codec.decode(data, codec.JSON)
    assert caught.value.code == "malformed"


def test_msgpack_kinds_that_json_has_not_are_malformed() -> None:
    for extension in (msgpack.ExtType(5, b"x"), msgpack.Timestamp(0, 0), b"binary"):
        with pytest.raises(Problem) as caught:
            codec.decode(msgpack.packb([extension]), codec.MSGPACK)
        assert caught.value.code == "malformed"


def test_a_msgpack_header_that_promises_gigabytes_is_malformed() -> None:
    for header in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"):
        with pytest.raises(Problem) as caught:
            codec.decode(header, codec.MSGPACK)
        assert caught.value.code == "malformed"


def test_a_huge_json_number_is_malformed_or_a_number() -> None:
    with pytest.raises(Problem) as caught:
        codec.decode(b"9" * 5_000, codec.JSON)
    assert caught.value.code == "malformed"


def test_json_is_compact_and_keeps_letters_as_they_are() -> None:
    assert (
        codec.encode({"name": "Prüfstand", "n": 1}, codec.JSON)
        == '{"name":"Prüfstand","n":1}'.encode()
    )


def test_both_media_types_say_the_same() -> None:
    value = {"id": "x", "wait": 1.5, "labels": {"a": "b"}, "leases": [1, None, True]}
    assert msgpack.unpackb(codec.encode(value, codec.MSGPACK)) == json.loads(
        codec.encode(value, codec.JSON)
    )
