"""What the operator did. It belongs to no organization, and outlives those that are removed."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import structlog

from lessor_daemon.store import audit
from lessor_daemon.store.errors import store_problems

if TYPE_CHECKING:
    from lessor_daemon.store.store import Store

    from .callers import Actor

_log = structlog.get_logger(__name__)


class OperatorAudit:
    """Appends to the operator's stream, and to the log."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def record(self, actor: Actor, action: str, target: str) -> None:
        """Write down one deed, just after it was done."""
        _log.info("operator_action", action=action, target=target, source=actor.source)
        with store_problems():
            entry = {"actor": asdict(actor), "action": action, "target": target}
            await audit.append_operator(self._store, entry)
