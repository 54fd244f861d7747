"""What a call on a stream leaves to the requests that come after it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from lessor_daemon import logs
from lessor_daemon.http.stream_calls import StreamCalls, _Call


class Stream:
    """Reads on, as a stream does that was full, when a call is done."""

    opened = SimpleNamespace(request_id="r1")

    def __init__(self) -> None:
        self.bound: dict[str, object] = {}

    def done(self, _cost: int) -> None:
        self.bound = dict(logs.bound())


async def test_requests_that_a_call_held_up_carry_none_of_its_ids() -> None:
    directory: Any = SimpleNamespace(
        authentication=SimpleNamespace(recall_by_digest=None, digest=None)
    )
    leasing: Any = SimpleNamespace(news=SimpleNamespace(carriers=SimpleNamespace(enter=None)))
    serving: Any = SimpleNamespace(call_begins=lambda: None, call_ends=lambda: None)
    metrics: Any = SimpleNamespace(
        observe_request=lambda *_: None,
        request_seconds=SimpleNamespace(labels=lambda _: SimpleNamespace(observe=None)),
    )
    stream: Any = Stream()
    caller: Any = SimpleNamespace(org="acme", key_id="k1")
    seen: dict[str, object] = {}

    async def work() -> None:
        logs.bind(lease="one")
        seen.update(logs.bound())

    calls = StreamCalls(serving, directory, leasing, metrics)
    await calls._see_through(_Call(stream, caller, 7), "acquire", work(), 16)
    assert seen == {"request": "r1", "org": "acme", "key": "k1", "frame": 7, "lease": "one"}
    assert stream.bound == {}
