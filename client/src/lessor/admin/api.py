"""Calls of the administration: pages of lists, exports, and changes that are sent once.

A look may be repeated, at the next server too. A change may not: a second one could make a second
key. It goes to the server that answered last, on a new connection, and to the next one only where
that could not be made. When no answer comes the error says that it may have happened.
"""

from __future__ import annotations

from lessor_protocol import PROTOCOL_VERSION, codec
from lessor_protocol.errors import Problem

from lessor import __version__
from lessor.clock import now_ms
from lessor.errors import Denied, NoAnswer
from lessor.server import no_lessor_at, quote, read_answer, read_served
from lessor.transport import Link, connected_by

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lessor.config import ClientConfig
    from lessor.http1 import Response

    Item = dict[str, object]
    Query = Mapping[str, str | int | bool | None]
    Read = Callable[[Link, Response], tuple[int, object]]

TIMEOUT_MS = 30_000
PAGE = 500
"""Items that are asked for at once; the most that a server gives."""

_NOT_FOUND = 404
_NAMES_NOTHING = frozenset({"/v1/whoami", "/v1/orgs", "/v1/offline-keys", "/v1/backup"})
"""Paths that every Lessor serves: where one is not found there is none."""
_ASK_ANOTHER = frozenset({"draining", "store_unavailable", "internal"})


class Answer:
    """What a call answered, and the tag of what it shows (empty where it has none)."""

    __slots__ = ("etag", "value")

    def __init__(self, value: Item, etag: str) -> None:
        self.value = value
        self.etag = etag


class Api:
    """The servers of one configuration. Every method raises ``Problem`` or ``NoAnswer``.

    ``on_page(count)`` is told how many items have come so far, after each page.
    """

    def __init__(
        self, config: ClientConfig, on_page: Callable[[int], None] = lambda _count: None
    ) -> None:
        self._links = [Link(url, config.ca_file, config.environ) for url in config.urls]
        self._current = 0
        self._on_page = on_page
        self._org = ""
        self._headers = [
            ("Authorization", f"Bearer {config.api_key}"),
            ("Lessor-Protocol", str(PROTOCOL_VERSION)),
            ("User-Agent", f"lessor/{__version__}"),
        ]

    @property
    def org(self) -> str:
        """The path of the key's organization. Raises ``Denied`` for an operator's key."""
        if not self._org:
            slug = self.whoami().get("organization")
            if not isinstance(slug, str):
                raise Denied(
                    "an operator's key belongs to no organization: it creates and removes them "
                    "(lessor org), and the rest takes a key of the organization"
                )
            self._org = f"/v1/orgs/{quote(slug)}"
        return self._org

    def whoami(self) -> Item:
        """What the key is."""
        return self.get("/v1/whoami").value

    def get(self, path: str, query: Query | None = None) -> Answer:
        """Look at one thing."""
        link, response = self._look(path, query or {}, codec.MSGPACK)
        return _answer(link, response, path)

    def items(self, path: str, query: Query | None = None, *, limit: int = 0) -> Iterator[Item]:
        """The items of a list, page after page; at most ``limit`` unless that is 0."""
        count, cursor = 0, ""
        while True:
            size = min(PAGE, limit - count) if limit else PAGE
            asked = {**(query or {}), "limit": size, "cursor": cursor or None}
            page = self.get(path, asked).value
            items = _objects(page.get("items"))
            yield from items
            count += len(items)
            self._on_page(count)
            following = page.get("next")
            if not isinstance(following, str) or not items or (limit and count >= limit):
                return
            cursor = following

    def export(self, path: str, query: Query, format: str, *, limit: int = 0) -> Iterator[str]:
        """A list as the server writes it, ``csv`` or ``jsonl``, page after page."""
        count, cursor = 0, ""
        while True:
            size = min(PAGE, limit - count) if limit else PAGE
            asked = {**query, "format": format, "limit": size, "cursor": cursor or None}
            link, response = self._look(path, asked, "*/*")
            if response.status != 200:
                _answer(link, response, path)
            text = response.body.decode("utf-8", "replace")
            if format == "csv" and count:
                text = text.partition("\n")[2]  # each page has the heading
            yield text
            count += size
            self._on_page(count)
            cursor = response.headers.get("lessor-next", "")
            if not cursor or (limit and count >= limit):
                return

    def change(
        self,
        method: str,
        path: str,
        body: Item | None = None,
        query: Query | None = None,
        *,
        if_match: str = "",
    ) -> Item:
        """Change something, once."""
        headers = [*self._headers, ("Accept", codec.MSGPACK)]
        if if_match:
            headers.append(("If-Match", if_match))
        data = b""
        if body is not None:
            headers.append(("Content-Type", codec.MSGPACK))
            data = codec.encode(body, codec.MSGPACK)
        target = _target(path, query or {})
        until_ms = now_ms() + TIMEOUT_MS
        troubles: list[str] = []
        for links_left in range(len(self._links), 0, -1):
            link = self._links[self._current]
            # Not on a kept connection: where that was closed while idle the request is sent again.
            link.close()
            by_ms = connected_by(until_ms, links_left)
            try:
                response = link.request(
                    method, target, headers, data, until_ms, connected_by_ms=by_ms
                )
                if response.status != _NOT_FOUND or path not in _NAMES_NOTHING:
                    return _answer(link, response, path).value
                troubles.append(str(no_lessor_at(link.url)))
            except NoAnswer as error:
                if link.has_sent:
                    raise NoAnswer(
                        f"{error}; it may have happened all the same: look before you repeat it"
                    ) from None
                troubles.append(str(error))
            self._turn()
        raise NoAnswer("; ".join(troubles))

    def close(self) -> None:
        """Close all connections."""
        for link in self._links:
            link.close()

    def _look(self, path: str, query: Query, accept: str) -> tuple[Link, Response]:
        """Ask the current server, and where it is in trouble the others."""
        until_ms = now_ms() + TIMEOUT_MS
        headers = [*self._headers, ("Accept", accept)]
        troubles: list[str] = []
        target = _target(path, query)
        for links_left in range(len(self._links), 0, -1):
            link = self._links[self._current]
            by_ms = connected_by(until_ms, links_left)
            try:
                response = link.request(
                    "GET", target, headers, b"", until_ms, connected_by_ms=by_ms
                )
                is_doubtful = response.status >= 500 or response.status == _NOT_FOUND
                if not is_doubtful or links_left == 1:
                    return link, response
                _read_for(path)(link, response)
            except NoAnswer as error:
                troubles.append(str(error))
            except Problem as problem:
                if problem.code not in _ASK_ANOTHER:
                    raise
            self._turn()
        raise NoAnswer("; ".join(troubles))

    def _turn(self) -> None:
        """The next server's turn."""
        self._current = (self._current + 1) % len(self._links)


def _read_for(path: str) -> Read:
    return read_served if path in _NAMES_NOTHING else read_answer


def _answer(link: Link, response: Response, path: str) -> Answer:
    _, value = _read_for(path)(link, response)
    if not isinstance(value, dict):
        raise NoAnswer(f"the answer of {link.name} cannot be understood: it is no object")
    return Answer(value, response.headers.get("etag", ""))


def _target(path: str, query: Query) -> str:
    pairs = [f"{name}={quote(_text(value))}" for name, value in query.items() if value is not None]
    return f"{path}?{'&'.join(pairs)}" if pairs else path


def _text(value: str | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _objects(value: object) -> list[Item]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
