"""Keeping one organization's trouble, or one task's, from becoming everybody's."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from lessor_protocol.errors import Problem

from .errors import DaemonError
from .store.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structlog.typing import FilteringBoundLogger


@contextmanager
def contained(log: FilteringBoundLogger, event: str, org: str | None = None) -> Iterator[None]:
    """Log what fails here, so that a task that serves all organizations goes on.

    A ``Problem``, or a store that is away, passes by itself: ``event``, for who debugs. The rest is
    as in ``mistakes_contained``.
    """
    whose = {} if org is None else {"org": org}
    try:
        with mistakes_contained(log, event, org):
            yield
    except Problem as problem:
        log.debug(event, **whose, error=problem.detail)
    except StoreUnavailable as error:
        log.debug(event, **whose, error=str(error))


@contextmanager
def mistakes_contained(
    log: FilteringBoundLogger, event: str, org: str | None = None
) -> Iterator[None]:
    """Log what nobody who calls has to expect.

    It is our mistake or the operator's, such as an ACL that forbids a command, or something in the
    store that does not belong there. ``Problem`` and ``StoreUnavailable`` are raised, and so is
    ``DaemonError``: it is about all.
    """
    try:
        yield
    except (Problem, StoreUnavailable, DaemonError):
        raise
    except Exception:
        if org is None:
            log.exception("task_failed", reason=event)
        else:
            log.exception("organization_failed", org=org, reason=event)
