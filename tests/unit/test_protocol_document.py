"""``docs/protocol.md`` and the code say the same: vectors, exchanges, codes and limits."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from lessor.http1 import ResponseReader, format_request
from lessor_protocol import codec, fields, lease, message, timing
from lessor_protocol.errors import (
    HOLDING_KEEPS_ON,
    HTTP_STATUS,
    NO_SEAT,
    TRANSIENT,
    Problem,
)
from lessor_protocol.messages import AcquireRequest, Lease, RenewAnswer, RenewRequest
from lessor_protocol.queued import Queued
from lessor_protocol.watch import WatchAnswer, WatchRequest

DOCUMENT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
VECTORS = re.findall(r"^```vector (\S+)\n(.*)\n([0-9a-f]+)\n```$", DOCUMENT, re.MULTILINE)
EXCHANGES = re.findall(r"^```exchange\n(.*?)\n```$", DOCUMENT, re.MULTILINE | re.DOTALL)


def lease_answer(value: object) -> dict[str, object]:
    assert isinstance(value, dict)
    return {"lease": Lease.from_wire(value["lease"]).to_wire()}


READERS: dict[str, Callable[[object], object]] = {
    "acquire-request": lambda value: AcquireRequest.from_wire(value).to_wire(),
    "lease-answer": lease_answer,
    "queued": lambda value: Queued.from_wire(value).to_wire(),
    "renew-request": lambda value: RenewRequest.from_wire(value).to_wire(),
    "renew-answer": lambda value: RenewAnswer.from_wire(value).to_wire(),
    "watch-request": lambda value: WatchRequest.from_wire(value).to_wire(),
    "watch-answer": lambda value: WatchAnswer.from_wire(value).to_wire(),
    "problem": lambda value: Problem.from_wire(value, 0).to_wire(),
}


def test_there_is_a_vector_of_every_message() -> None:
    assert {name for name, _, _ in VECTORS} == READERS.keys()


@pytest.mark.parametrize(("name", "as_json", "as_hex"), VECTORS)
def test_a_vector_is_read_and_written_to_the_byte(name: str, as_json: str, as_hex: str) -> None:
    json_bytes, msgpack_bytes = as_json.encode(), bytes.fromhex(as_hex)
    value = codec.decode(json_bytes, codec.JSON)
    assert codec.decode(msgpack_bytes, codec.MSGPACK) == value
    written = READERS[name](value)
    assert codec.encode(written, codec.JSON) == json_bytes
    assert codec.encode(written, codec.MSGPACK) == msgpack_bytes


@pytest.mark.parametrize(("name", "as_json", "as_hex"), VECTORS)
def test_unknown_fields_are_ignored_wherever_an_object_stands(
    name: str, as_json: str, as_hex: str
) -> None:
    assert as_hex
    value = codec.decode(as_json.encode(), codec.JSON)
    if name != "problem":  # whose unknown members are extensions
        assert READERS[name](with_unknown_fields(value)) == value


def with_unknown_fields(value: object) -> object:
    if isinstance(value, list):
        return [with_unknown_fields(item) for item in value]
    if isinstance(value, dict):
        inner = {k: v if k == "labels" else with_unknown_fields(v) for k, v in value.items()}
        return {**inner, "of_a_newer_version": {"x": [1]}}
    return value


def side(exchange: str, mark: str) -> bytes:
    """What one side sends, of the lines that begin with ``mark``."""
    lines = [line[3:] for line in exchange.split("\n") if line.startswith(mark)]
    text = "\r\n".join(lines)
    return (text + "\r\n").encode() if not lines[-1] else text.encode()


def test_there_are_exchanges() -> None:
    assert len(EXCHANGES) == 5


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_request_of_an_exchange_is_what_the_client_writes(exchange: str) -> None:
    data = side(exchange, "C:")
    head, _, body = data.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    method, target, _ = first.split(" ")
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in rest)]
    without_length = [pair for pair in headers if pair[0] != "Content-Length"]
    assert format_request(method, target, without_length, body) == data
    if method == "POST":
        name = "renew-request" if target.endswith("/renew") else "acquire-request"
        value = codec.decode(body, codec.JSON)
        assert codec.encode(READERS[name](value), codec.JSON) == body


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_an_answer_of_an_exchange_is_what_the_client_reads(exchange: str) -> None:
    reader = ResponseReader()
    reader.feed(side(exchange, "S:"))
    response = reader.response
    assert response is not None
    assert not reader.has_excess
    assert response.headers["lessor-request-id"]
    if response.status == 204:
        return
    value = codec.decode(response.body, codec.JSON)
    names = {201: "lease-answer", 202: "queued", 200: "renew-answer", 403: "problem"}
    assert codec.encode(READERS[names[response.status]](value), codec.JSON) == response.body
    assert response.status != 403 or response.media_type == codec.PROBLEM_JSON


def duty(code: str) -> str:
    if code in NO_SEAT:
        return "wait"
    if code in TRANSIENT:
        return "again"
    return "hold" if code in HOLDING_KEEPS_ON else "final"


def test_the_table_of_codes_is_complete_and_true() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\w+) \|$", DOCUMENT, re.MULTILINE)
    assert rows == [(code, str(status), duty(code)) for code, status in HTTP_STATUS.items()]


@pytest.mark.parametrize(
    "line",
    [
        f"| a body | {codec.MAX_BYTES:,} bytes |",
        f"| nesting | {codec.MAX_DEPTH} |",
        f"| values in a message | {codec.MAX_ITEMS:,} |",
        f"| names, ids, users | {fields.MAX_NAME} characters |",
        f"| `command`, `reason` | {fields.MAX_TEXT:,} characters |",
        f"| labels | {message.MAX_LABELS}, each name 64 and each value {message.MAX_LABEL_TEXT} ",
        f"| `certificate` | {message.MAX_CERTIFICATE:,} characters |",
        f"| leases in a renewal or a watch | {message.MAX_RENEWALS} |",
    ],
)
def test_the_limits_are_the_codes(line: str) -> None:
    assert line in DOCUMENT


def test_the_times_are_the_codes() -> None:
    ttl_ms = 30_000
    assert timing.retry_every_ms(ttl_ms) == ttl_ms // 30
    assert timing.attempt_timeout_ms(ttl_ms) == ttl_ms // 15
    assert timing.stop_grace_ms(ttl_ms, 5_000) == min(5_000, ttl_ms // 6)
    assert timing.margin_ms(ttl_ms) == 3_000 + ttl_ms // 500
    assert lease.RELEASE_PATIENCE_MS == 5_000
    for words in ("`ttl`/30", "`ttl`/15", "min(5 s, `ttl`/6)", "3 s + `ttl`/500", "5 seconds"):
        assert words in DOCUMENT


def test_the_queues_times_are_the_scripts() -> None:
    script = Path(__file__).parents[2] / "daemon/src/lessor_daemon/store/lua/lib/line.lua"
    found = dict(re.findall(r"^local (\w+_MS) = (\d+)", script.read_text(), re.MULTILINE))
    assert f"**{int(found['GONE_MS']) // 1000} seconds**" in DOCUMENT
    assert f"**{int(found['OFFER_MS']) // 1000} seconds**" in DOCUMENT
