"""HTTP responses as bytes: what is complete is read, whatever is wrong is nonsense."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lessor.http1 import MAX_BODY, MAX_HEAD, Nonsense, Response, ResponseReader, format_request

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: Text/Plain; charset=x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;note=x\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"
)
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nhello"


def read(data: bytes, *, step: int = 0, tunnel: bool = False) -> Response:
    """Feed ``data`` in pieces of ``step`` bytes (0: at once), then the end of the stream."""
    reader = ResponseReader(tunnel=tunnel)
    for start in range(0, len(data), step or len(data) or 1):
        reader.feed(data[start : start + (step or len(data))])
    reader.end()
    assert reader.response is not None
    return reader.response


@pytest.mark.parametrize("step", [0, 1, 2, 7])
@pytest.mark.parametrize("data", [PLAIN, CHUNKED, UNTIL_CLOSE])
def test_a_response_is_the_same_however_it_is_cut(data: bytes, step: int) -> None:
    response = read(data, step=step)
    assert (response.status, response.body) == (200, b"hello")


def test_the_media_type_is_compared_without_case_and_parameters() -> None:
    assert read(PLAIN).media_type == "text/plain"
    assert read(UNTIL_CLOSE).media_type == ""


@pytest.mark.parametrize(
    ("head", "keep"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (UNTIL_CLOSE, False),
    ],
)
def test_whether_the_connection_stays(head: bytes, keep: bool) -> None:
    assert read(head).keep is keep


def test_interim_answers_are_skipped() -> None:
    assert (
        read(b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + PLAIN).status
        == 200
    )


def test_an_answer_to_connect_has_no_body() -> None:
    reader = ResponseReader(tunnel=True)
    reader.feed(b"HTTP/1.1 200 Connection established\r\n\r\n")
    assert reader.response is not None


def test_bytes_after_the_end_are_noticed() -> None:
    reader = ResponseReader()
    reader.feed(PLAIN + b"x")
    assert reader.response is not None
    assert reader.has_excess


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ],
)
def test_an_end_too_early_is_nonsense(data: bytes) -> None:
    with pytest.raises(Nonsense, match="before its answer was complete"):
        read(data)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nName : x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 400,
    ],
)
def test_ambiguous_or_broken_framing_is_nonsense(data: bytes) -> None:
    with pytest.raises(Nonsense):
        read(data)


def test_a_repeated_equal_length_is_no_contradiction() -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab"
    assert read(data).body == b"ab"


@pytest.mark.parametrize("step", [0, 1_000])
@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * MAX_HEAD,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 4_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1),
        UNTIL_CLOSE + b"a" * MAX_BODY,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n",
        CHUNKED[:-2] + b"Trailer: x\r\n" * 10_000,
    ],
)
def test_what_is_too_large_is_refused_before_it_is_stored(data: bytes, step: int) -> None:
    with pytest.raises(Nonsense, match="larger than"):
        read(data, step=step)


def outcome(data: bytes, step: int) -> str:
    try:
        read(data, step=step)
    except Nonsense:
        return "nonsense"
    return "read"


@given(data=st.binary(max_size=200), step=st.integers(1, 50))
def test_arbitrary_bytes_raise_nothing_but_nonsense(data: bytes, step: int) -> None:
    assert outcome(data, step) == "nonsense"


@given(
    base=st.sampled_from([PLAIN, CHUNKED, UNTIL_CLOSE]),
    at=st.integers(0, 120),
    junk=st.binary(max_size=4),
    step=st.integers(1, 50),
)
def test_damaged_responses_raise_nothing_but_nonsense(
    base: bytes, at: int, junk: bytes, step: int
) -> None:
    damaged = base[:at] + junk + base[at + len(junk) :]
    assert outcome(damaged, step) in ("read", "nonsense")


def test_a_request_without_a_body_says_no_length_unless_it_is_a_post() -> None:
    assert (
        format_request("DELETE", "/x", [("A", "b")], b"") == b"DELETE /x HTTP/1.1\r\nA: b\r\n\r\n"
    )
    assert format_request("POST", "/x", [], b"").endswith(b"Content-Length: 0\r\n\r\n")
