"""``lessor serve``: from arguments to an exit code (0, 70 or 78; see sysexits.h)."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from . import app, config, logs, loops
from .bootstrap import read_bootstrap
from .errors import ConfigurationError, DaemonError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .bootstrap import Bootstrap

INTERNAL_FAILURE = 70

_log = logs.get_logger("lessor.daemon")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon; ``argv`` is what follows ``lessor serve``."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    logs.configure(config.wanted_log_format(arguments, os.environ))
    places: Mapping[str, str] = {}
    try:
        settings = config.load(arguments, os.environ)
        places = settings.places
        logs.configure(settings.log_format, settings.log_level)
        loops.run(app.run(settings, _bootstrap(settings)))
    except Exception as error:  # noqa: BLE001  # the outermost frame: all of it becomes an exit code
        return exit_code(error, places)
    return 0


def _bootstrap(settings: config.Config) -> Bootstrap | None:
    if settings.bootstrap is None:
        return None
    return read_bootstrap(
        settings.bootstrap, min_ttl_ms=settings.min_ttl_ms, max_ttl_ms=settings.max_ttl_ms
    )


def exit_code(error: Exception, places: Mapping[str, str]) -> int:
    """Log why the daemon ends. An operator's mistake gets a line, one of ours a trace."""
    known = _find(error)
    if isinstance(known, ConfigurationError):
        place = places.get(known.place, known.place)
        _log.critical("bad_configuration", place=place, reason=known.why)
        return known.exit_code
    if known is not None:
        _log.critical("failed", reason=str(known))
        return known.exit_code
    _log.critical("internal_failure", exc_info=error)
    return INTERNAL_FAILURE


def _find(error: BaseException) -> DaemonError | None:
    """The reason in an exception that may be a group of a task group."""
    if isinstance(error, DaemonError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((found for one in error.exceptions if (found := _find(one))), None)
    return None
