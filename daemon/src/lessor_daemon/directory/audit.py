"""Reading the record of changes: who did what, from where, and what it was before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lessor_daemon.store import audit as stored
from lessor_daemon.store.errors import store_problems
from lessor_daemon.times import wall_text

from .pages import READ_AT_ONCE, Page

if TYPE_CHECKING:
    from lessor_daemon.store.store import Store

MOST_READ_FOR_A_PAGE = 5_000


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are wanted; None is any. ``action`` may be a beginning; times are seconds."""

    action: str | None = None
    actor: str | None = None
    target: str | None = None
    since: int | None = None
    until: int | None = None

    def fits(self, entry: dict[str, Any]) -> bool:
        """Whether this one is wanted."""
        actor = entry["actor"]
        return (
            (self.action is None or entry["action"].startswith(self.action))
            and (self.actor is None or self.actor in (actor["key"], actor["name"], actor["member"]))
            and self.target in (None, entry["target"])
        )


class Audit:
    """The changes of organizations. Every method may raise ``Problem``."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def page(
        self, org: str, wanted: AuditFilter, cursor: str | None, limit: int
    ) -> tuple[list[dict[str, object]], str | None]:
        """Up to ``limit`` entries, the newest first, and the next cursor; see ``Page``."""
        before = "+" if wanted.until is None else str(wanted.until * 1000 + 999)
        before = f"({cursor}" if cursor else before
        since = "-" if wanted.since is None else str(wanted.since * 1000)
        found = Page(limit)
        looked_at = 0
        while looked_at < MOST_READ_FOR_A_PAGE:
            with store_problems():
                entries = await stored.entries(
                    self._store, org, before=before, since=since, about=READ_AT_ONCE
                )
            for entry_id, entry in entries:
                if wanted.fits(entry) and not found.add(_to_wire(entry_id, entry)):
                    return found.items, cursor
                cursor = entry_id
            if len(entries) < READ_AT_ONCE:
                return found.items, None
            looked_at += len(entries)
            before = f"({cursor}"
        return found.items, cursor


def _to_wire(entry_id: str, entry: dict[str, Any]) -> dict[str, object]:
    actor = entry["actor"]
    return {
        "id": entry_id,
        "at": wall_text(int(entry_id.partition("-")[0])),
        "action": entry["action"],
        "target": entry["target"],
        "actor": {name: actor[name] for name in ("key", "name", "member") if actor[name]},
        "source": actor["source"],
        "request": actor["request"],
        "before": entry["before"],
        "after": entry["after"],
    }
