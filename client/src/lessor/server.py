"""The server as the client sees it: one method per call of the protocol.

Every method takes a time-out for the whole call, and raises ``lessor_protocol.errors.Problem``
when the server refused, ``NoAnswer`` when no answer came that could be understood.
"""

from __future__ import annotations

from lessor_protocol import PROTOCOL_VERSION, codec
from lessor_protocol.errors import HTTP_STATUS, Problem
from lessor_protocol.fields import Reader
from lessor_protocol.lease_id import format_lease_id
from lessor_protocol.messages import Lease, RenewAnswer, RenewRequest
from lessor_protocol.queued import Queued

from . import __version__
from .clock import now_ms
from .errors import NoAnswer, UsageError
from .text import clean
from .transport import Link, connected_by, poll_wait, refused_by_proxy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from lessor_protocol.messages import AcquireRequest, Renewal
    from lessor_protocol.watch import WatchAnswer

    from .config import ClientConfig
    from .connection import Wait
    from .http1 import Response

    T = TypeVar("T")

_MEDIA_TYPES = {
    codec.MSGPACK: codec.MSGPACK,
    codec.PROBLEM_MSGPACK: codec.MSGPACK,
    codec.JSON: codec.JSON,
    codec.PROBLEM_JSON: codec.JSON,
}

NOT_FOUND = "not_found"
IN_TROUBLE = frozenset({"draining", "store_unavailable", "internal"})
"""Codes of trouble of one daemon: where several URLs are known, the next one may be well."""
_HELD_SLACK_MS = 1_000
"""So much longer than it is held may the answer to an acquire take."""


class Server:
    """The servers of one configuration, tried in turn; the one that answered is kept."""

    def __init__(self, config: ClientConfig, wait: Wait = poll_wait) -> None:
        self._urls = config.urls
        self._links = [Link(url, config.ca_file, config.environ, wait) for url in config.urls]
        self._current = 0
        self._headers = [
            ("Authorization", f"Bearer {config.api_key}"),
            ("Accept", codec.MSGPACK),
            ("Lessor-Protocol", str(PROTOCOL_VERSION)),
            ("User-Agent", f"lessor/{__version__}"),
        ]

    @property
    def url(self) -> str:
        """The URL in use: of the server that answered last, or is asked next."""
        return self._urls[self._current]

    def acquire(self, request: AcquireRequest, timeout_ms: int) -> Lease | Queued:
        """Ask for a seat; the same request again gets the same answer."""
        held_ms = request.hold_ms + _HELD_SLACK_MS if request.hold_ms else 0
        message = request.to_wire()
        status, answer = self._call(
            "POST", "/v1/leases", timeout_ms, message, held_ms=held_ms, read=read_served
        )
        if status == 202:
            return _understood(Queued.from_wire, answer)
        return _understood(lambda value: Lease.from_wire(_member(value, "lease")), answer)

    def renew(self, renewals: list[Renewal], timeout_ms: int) -> RenewAnswer:
        """Keep leases."""
        message = RenewRequest(renewals).to_wire()
        try:
            _, answer = self._call(
                "POST", "/v1/leases/renew", timeout_ms, message, read=read_served
            )
        except UsageError as error:
            raise NoAnswer(str(error)) from None  # it may pass, and a seat is held until then
        return _understood(RenewAnswer.from_wire, answer)

    def watch(self, lease_id: bytes, seen: str, wait_ms: int, timeout_ms: int) -> WatchAnswer:
        """What is new about a lease beyond the notice ``seen``, once there is or after ``wait_ms``.

        Asks the server in use and no other: if that is in trouble, a renewal will find out.
        """
        from lessor_protocol.watch import (  # noqa: PLC0415 - short runs never come here
            WatchAnswer,
            Watched,
            WatchRequest,
        )

        link = self._links[self._current]
        message = WatchRequest([Watched(lease_id, seen)], wait_ms).to_wire()
        body = codec.encode(message, codec.MSGPACK)
        headers = [*self._headers, ("Content-Type", codec.MSGPACK)]
        try:
            until_ms = now_ms() + timeout_ms
            response = link.request("POST", "/v1/leases/watch", headers, body, until_ms)
        except UsageError as error:
            raise NoAnswer(str(error)) from None
        return _understood(WatchAnswer.from_wire, read_served(link, response)[1])

    def release(self, lease_id: bytes, timeout_ms: int) -> None:
        """Give a seat, or a place in the queue, back. May be repeated."""
        self._call("DELETE", f"/v1/leases/{format_lease_id(lease_id)}", timeout_ms)

    def whoami(self, timeout_ms: int) -> dict[str, object]:
        """What the key is: ``organization``, ``key``, ``default_license`` (or null)."""
        _, answer = self._call("GET", "/v1/whoami", timeout_ms, read=read_served)
        return _understood(_object, answer)

    def licenses(self, organization: str, timeout_ms: int) -> list[dict[str, object]]:
        """The licenses of the key's organization and how much of each is in use."""
        return self._items(f"/v1/orgs/{quote(organization)}/licenses", timeout_ms)

    def queue(self, organization: str, license: str, timeout_ms: int) -> list[dict[str, object]]:
        """Who waits for a license: the first page of its line."""
        path = f"/v1/orgs/{quote(organization)}/licenses/{quote(license)}/queue"
        page = _understood(_object, self._call("GET", path, timeout_ms)[1])
        return _understood(_objects, page.get("items"))

    def leases(self, timeout_ms: int) -> list[dict[str, object]]:
        """The leases that the key may see, of all pages."""
        return self._items("/v1/leases", timeout_ms)

    def close(self) -> None:
        """Close all connections. The server can be used again."""
        for link in self._links:
            link.close()

    def _items(self, path: str, timeout_ms: int) -> list[dict[str, object]]:
        until_ms = now_ms() + timeout_ms
        items: list[dict[str, object]] = []
        query = ""
        while True:
            page = _understood(_object, self._call("GET", path + query, until_ms - now_ms())[1])
            items.extend(_understood(_objects, page.get("items")))
            cursor = page.get("next")
            if not isinstance(cursor, str) or not cursor:
                return items
            query = f"?cursor={quote(cursor)}"

    def _call(
        self,
        method: str,
        path: str,
        timeout_ms: int,
        message: object = None,
        *,
        held_ms: int = 0,
        read: Callable[[Link, Response], tuple[int, object]] | None = None,
    ) -> tuple[int, object]:
        """Ask the current server, and where it is in trouble the others, within the time.

        ``held_ms`` is how long the answer may be held back: nobody is asked who has less time for
        it. ``read`` is ``read_answer`` unless given. Raises ``UsageError`` only where no server can
        be asked at all.
        """
        until_ms = now_ms() + timeout_ms
        headers, body = self._headers, b""
        if message is not None:
            headers = [*headers, ("Content-Type", codec.MSGPACK)]
            body = codec.encode(message, codec.MSGPACK)
        troubles: list[NoAnswer | UsageError | Problem] = []
        for links_left in range(len(self._links), 0, -1):
            link = self._links[self._current]
            by_ms = until_ms if links_left == 1 else connected_by(until_ms - held_ms, links_left)
            try:
                response = link.request(
                    method, path, headers, body, until_ms, connected_by_ms=by_ms
                )
                return (read or read_answer)(link, response)
            except (NoAnswer, UsageError) as error:
                troubles.append(error)
            except Problem as problem:
                if not self._may_another_be_well(problem, link, until_ms):
                    raise
                troubles.append(problem)
            self._current = (self._current + 1) % len(self._links)
            if now_ms() >= until_ms - held_ms:
                break
        raise _most_telling(troubles)

    def _may_another_be_well(self, problem: Problem, link: Link, until_ms: int) -> bool:
        """Whether it is trouble of this daemon, or there is none: its URL's path leads elsewhere.

        That nobody knows a lease is the last word of a Lessor: it has spent the id with that, and
        the next one would say that it is released.
        """
        if problem.code != NOT_FOUND or len(self._links) == 1:
            return problem.code in IN_TROUBLE
        try:
            read_served(link, link.request("GET", "/v1/whoami", self._headers, b"", until_ms))
        except (NoAnswer, UsageError):
            return True
        except Problem:
            pass
        return False


def _most_telling(troubles: list[NoAnswer | UsageError | Problem]) -> Exception:
    """What to raise where nobody gave an answer: a refusal tells more than a silence.

    What one URL's configuration lacks counts as its silence, unless all of them lack something.
    """
    for trouble in reversed(troubles):
        if isinstance(trouble, Problem):
            return trouble
    if all(isinstance(trouble, UsageError) for trouble in troubles):
        return troubles[-1]
    return NoAnswer("; ".join(map(str, troubles)))


def read_answer(link: Link, response: Response) -> tuple[int, object]:
    """Status and message of a response. Raises ``Problem`` or ``NoAnswer``."""
    status = response.status
    if status == 204:
        return status, None
    media_type = _MEDIA_TYPES.get(response.media_type)
    value: object = None
    if media_type is not None:
        try:
            value = codec.decode(response.body, media_type)
        except Problem as problem:
            raise NoAnswer(f"{link.name} sent nonsense: {problem.detail}") from None
    if 200 <= status < 300 and media_type is not None:
        return status, value
    if status >= 400 and isinstance(value, dict) and isinstance(value.get("code"), str):
        if status >= 500 and value["code"] not in HTTP_STATUS:
            # Trouble of a newer server's that we have no word for must not end a healthy lease.
            raise NoAnswer(f"{link.name} answered {status} ({clean(value['code'])})")
        raise Problem.from_wire(value, status)
    raise NoAnswer(_explain_stranger(link, response))


def read_served(link: Link, response: Response) -> tuple[int, object]:
    """As ``read_answer``, of a call that every Lessor serves: who does not know it is none."""
    try:
        return read_answer(link, response)
    except Problem as problem:
        if problem.code == NOT_FOUND:
            raise no_lessor_at(link.url) from None
        raise


def no_lessor_at(url: str) -> NoAnswer:
    """What it means that a call which every Lessor serves is not found."""
    return NoAnswer(f"{url} (LESSOR_URL) leads to no Lessor: nothing is served at that path")


def _explain_stranger(link: Link, response: Response) -> str:
    """Why an answer is not Lessor's own: a proxy, a balancer or another service gave it."""
    status = response.status
    if link.proxy_name and status in (403, 407):
        return refused_by_proxy(link.proxy_name, status, link.name)
    if 300 <= status < 400:
        return f"{link.name} redirects ({status}) elsewhere: put the final address into LESSOR_URL"
    return (
        f"{link.name} answered {status}, but not as a Lessor server does: "
        "does the URL point at another service, or is a proxy in between?"
    )


def _understood(read: Callable[[object], T], answer: object) -> T:
    try:
        return read(answer)
    except Problem as problem:
        raise NoAnswer(f"the server's answer cannot be understood: {problem.detail}") from None


def _member(value: object, name: str) -> object:
    return _object(value).get(name)


def _object(value: object) -> dict[str, object]:
    Reader(value, "the answer")
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[dict[str, object]]:
    items = Reader({"items": value}).array("items", most=codec.MAX_ITEMS)
    return [_object(item) for _, item in items]


def quote(text: str) -> str:
    """Percent-encode everything but letters, digits and ``-._~``."""
    return "".join(
        char if char.isascii() and (char.isalnum() or char in "-._~") else _percent(char)
        for char in text
    )


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode())
