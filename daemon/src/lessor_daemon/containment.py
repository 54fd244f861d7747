"""Keeping one organization's trouble from becoming everybody's."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from lessor_protocol.errors import Problem

from .errors import DaemonError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structlog.typing import FilteringBoundLogger


@contextmanager
def contained(log: FilteringBoundLogger, event: str, org: str) -> Iterator[None]:
    """Log what fails here, so that a task that serves all organizations goes on.

    A ``Problem`` passes by itself: ``event``, for who debugs. Anything else is our mistake or the
    operator's, such as an ACL that forbids a command. ``DaemonError`` is raised: it is about all.
    """
    try:
        yield
    except Problem as problem:
        log.debug(event, org=org, error=problem.detail)
    except DaemonError:
        raise
    except Exception:
        log.exception("organization_failed", org=org, reason=event)
