"""Frames of the stream: what they look like on the wire, byte for byte, and what is refused."""

from __future__ import annotations

import contextlib
import json
import re
import uuid
from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lessor_protocol import codec, frames
from lessor_protocol.errors import Problem
from lessor_protocol.message import MAX_RENEWALS
from lessor_protocol.messages import Renewal, RenewAnswer, RenewRequest

ID = "8f14e45f-ceea-467f-a8a2-2f4d1a7d4c3e"
RAW = uuid.UUID(ID).bytes
ID_HEX = ID.encode().hex()

RENEWED_HEX = (
    f"9301ccc885a772656e6577656491d924{ID_HEX}"
    "a46c6f737490a76e6f746963657390"
    "a374746ccb403e000000000000ab72656e65775f6166746572cb401e000000000000"
)

GOLDEN = [
    (
        (1, frames.RENEW, RenewRequest([Renewal(RAW)]).to_wire()),
        f"9301a572656e657781a66c656173657391d924{ID_HEX}",
    ),
    (
        (1, 200, RenewAnswer([RAW], [], 30_000, 7_500).to_wire()),
        RENEWED_HEX,
    ),
    (
        (2, frames.RELEASE, frames.release_body(RAW)),
        f"9302a772656c6561736581a26964d924{ID_HEX}",
    ),
    ((2, 204, None), "9302ccccc0"),
    ((frames.UNASKED, frames.DRAIN, {}), "9300a5647261696e80"),
]


@pytest.mark.parametrize(("parts", "expected"), GOLDEN)
def test_a_frame_is_these_bytes(parts: tuple[int, int | str, object], expected: str) -> None:
    assert frames.encode(*parts).hex() == expected


@pytest.mark.parametrize(("parts", "_expected"), GOLDEN)
def test_a_frame_reads_as_what_was_written(
    parts: tuple[int, int | str, object], _expected: str
) -> None:
    data = frames.encode(*parts)
    is_request = isinstance(parts[1], str) and parts[0] != frames.UNASKED
    read = frames.decode_request(data) if is_request else frames.decode_from_server(data)
    assert read == parts


@pytest.mark.parametrize(
    "frame",
    [
        None,
        {},
        [],
        [1, "renew"],
        [1, "renew", {}, {}],
        ["1", "renew", {}],
        [0, "renew", {}],
        [-1, "renew", {}],
        [2**53, "renew", {}],
        [1.0, "renew", {}],
        [True, "renew", {}],
        [1, 200, {}],
        [1, None, {}],
    ],
)
def test_what_is_no_request_is_malformed(frame: object) -> None:
    with pytest.raises(Problem) as refused:
        frames.decode_request(msgpack.packb(frame))
    assert refused.value.code == "malformed"


@pytest.mark.parametrize(
    "frame",
    [
        None,
        [1, 200],
        [1, "renew", {}],
        [0, 200, {}],
        [True, 200, {}],
        [1, True, {}],
        ["1", 200, {}],
    ],
)
def test_what_no_server_says_is_malformed(frame: object) -> None:
    with pytest.raises(Problem) as refused:
        frames.decode_from_server(msgpack.packb(frame))
    assert refused.value.code == "malformed"


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_problem(data: bytes) -> None:
    for decode in (frames.decode_request, frames.decode_from_server):
        with contextlib.suppress(Problem):
            decode(data)


def test_a_frame_that_is_too_large_is_not_looked_into() -> None:
    with pytest.raises(Problem) as refused:
        frames.decode_request(bytes(frames.MAX_FRAME_BYTES + 1))
    assert refused.value.code == "too_large"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from([ID, ID.upper(), "x", "leases"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["leases", "id", "certificate"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(json_values)
def test_bare_ids_are_read_like_any_other_renewal(body: object) -> None:
    def read(by: object) -> object:
        try:
            return (
                frames.renewals(body) if by == "frames" else RenewRequest.from_wire(body).renewals
            )
        except Problem as problem:
            return problem.code, problem.data

    assert read("frames") == read("messages")


def test_a_renewal_of_too_many_or_too_deep_is_refused() -> None:
    with pytest.raises(Problem) as many:
        frames.renewals({"leases": [ID] * (MAX_RENEWALS + 1)})
    assert many.value.code == "invalid"
    deep: object = []
    for _ in range(codec.MAX_DEPTH + 1):
        deep = [deep]
    with pytest.raises(Problem) as nested:
        frames.renewals({"leases": [], "more": deep})
    assert nested.value.code == "malformed"


def test_a_release_names_its_lease() -> None:
    assert frames.lease_to_release(frames.release_body(RAW)) == RAW
    with pytest.raises(Problem) as refused:
        frames.lease_to_release({"id": "x"})
    assert refused.value.data["field"] == "id"


DOCUMENT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
DOCUMENTED = re.findall(r"^```frame\n(.*)\n([0-9a-f]+)\n```$", DOCUMENT, re.MULTILINE)


@pytest.mark.parametrize(("as_json", "as_hex"), DOCUMENTED)
def test_a_documented_frame_is_written_and_read_to_the_byte(as_json: str, as_hex: str) -> None:
    first, second, body = json.loads(as_json)
    assert frames.encode(first, second, body).hex() == as_hex
    is_request = isinstance(second, str) and first != frames.UNASKED
    read = frames.decode_request if is_request else frames.decode_from_server
    assert read(bytes.fromhex(as_hex)) == (first, second, body)


def test_every_close_code_and_operation_is_documented() -> None:
    assert len(DOCUMENTED) == 8
    codes = {int(code) for code in re.findall(r"^\| ([14]0\d\d) \|", DOCUMENT, re.MULTILINE)}
    assert codes == {getattr(frames, name) for name in dir(frames) if name.startswith("CLOSE_")}
    for op in (frames.ACQUIRE, frames.RENEW, frames.RELEASE):
        assert f"| `{op}` |" in DOCUMENT
    for op in (frames.DRAIN, frames.LOST, frames.NOTICE):
        assert f"| `{op}` |" in DOCUMENT


@given(st.integers(min_value=1, max_value=frames.MAX_SEQ))
def test_the_number_of_a_frame_is_found_in_its_head(seq: int) -> None:
    head = frames.head(seq)
    assert frames.encode(seq, 200, None).startswith(head)
    assert frames.seq_in(head) == seq
    assert frames.seq_in(head[:-1]) != seq
    assert frames.seq_in(head + b"\x00") != seq


@given(st.binary(max_size=12).map(lambda rest: b"\x93" + rest))
def test_what_passes_for_a_head_is_one(head: bytes) -> None:
    seq = frames.seq_in(head)
    if seq:
        assert frames.decode_request(head + msgpack.packb("renew") + b"\xc0") == (
            *(seq, "renew"),
            None,
        )
