"""Logs: one structured line per event, for people or as JSON, and never a secret in one.

Everything goes to stderr through here: our own events, the libraries' stdlib logging, warnings,
and exceptions that nobody caught. Ids of the call at hand (request, org, license, lease) are bound
as context variables where they become known and stand on every line after that.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from lessor_protocol.credentials import PREFIX, redact
from structlog.stdlib import ProcessorFormatter
from structlog.tracebacks import ExceptionDictTransformer

from .log_output import LogOutput

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping
    from types import TracebackType
    from typing import TextIO

    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

_KEY_MARK = f"{PREFIX}_"
_URL_PASSWORD = re.compile(r"(?<=://)([^/\s@:]*):[^/\s@]*@")


_NOTHING: Mapping[str, object] = {}
_bound: ContextVar[Mapping[str, object]] = ContextVar("bound", default=_NOTHING)
"""One variable for all ids: structlog keeps one for each, which every call would pay for."""

_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}


def configure(
    log_format: str,
    level: str = "info",
    stream: TextIO | None = None,
    *,
    worker: int | None = None,
) -> None:
    """Send all that the process logs to ``stream`` (stderr) as ``console`` or ``json`` lines.

    Those of a worker carry its number.
    """
    out = LogOutput(stream or sys.stderr)
    begin = _begin_line(worker)
    renderers: list[Processor]
    if log_format == "json":
        renderers = [
            structlog.processors.ExceptionRenderer(
                # Without the values of local variables: secrets are among them.
                ExceptionDictTransformer(show_locals=False)
            ),
            _to_json,
        ]
    else:
        renderers = [
            structlog.processors.format_exc_info,
            redact_secrets,
            structlog.dev.ConsoleRenderer(colors=out.is_terminal, pad_event_to=24),
        ]
    # Our own events do not pass through the standard logging: that doubled the price of a line,
    # and each lease has two. A level that is not wanted costs next to nothing.
    structlog.configure(
        processors=[begin, *renderers],
        logger_factory=lambda name="": _Lines(out, name),
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        cache_logger_on_first_use=True,
    )
    handler = _Handler(out)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[begin, structlog.stdlib.ExtraAdder()],
            processors=[ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(LEVELS[level])
    # One line per request at info would drown what changed; our own events say that.
    logging.getLogger("aiohttp.access").setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


class _Lines:
    """Writes lines, and has the name that stands in them."""

    def __init__(self, out: LogOutput, name: str) -> None:
        self.name = name
        self._out = out

    def msg(self, line: str) -> None:
        """Write a line, or lose it: nothing comes of it for who logs."""
        _write(self._out, line)

    debug = info = warning = error = exception = critical = msg


class _Handler(logging.Handler):
    """Writes what libraries log."""

    def __init__(self, out: LogOutput) -> None:
        super().__init__()
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or lose it."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001  # a library's mistake, such as the wrong arguments
            get_logger(record.name).error("unreadable_log_record", exc_info=True)
        else:
            _write(self._out, line)


def _write(out: LogOutput, line: str) -> None:
    if lost := out.write(line):
        get_logger("lessor.logs").warning("log_lines_lost", total=lost)


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose lines carry ``name``."""
    logger: FilteringBoundLogger = structlog.get_logger(name)
    return logger


def redact_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Take API keys and the passwords of URLs out of every value, however deep it stands."""
    return {name: _clean(value) for name, value in event.items()}


def _begin_line(worker: int | None) -> Processor:
    """What stands on every line: when, how grave, what, who says so, and the ids of the call."""
    everywhere = {} if worker is None else {"worker": worker}

    def begin(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        record = event.get("_record")  # of a library's own logging
        return {
            "timestamp": datetime.now(UTC).isoformat()[:-6] + "Z",
            "level": method,
            "event": event.pop("event"),
            "logger": logger.name if record is None else record.name,
            **everywhere,
            **_bound.get(),
            **event,
        }

    return begin


def _to_json(logger: WrappedLogger, method: str, event: EventDict) -> str:
    line = _encode(event)
    if _KEY_MARK in line or "://" in line:  # which hardly ever happens
        line = _encode(redact_secrets(logger, method, event))
    return line


def log_loop_exception(_loop: asyncio.AbstractEventLoop, context: Mapping[str, object]) -> None:
    """Asyncio's handler for what nobody awaited."""
    error = context.get("exception")
    get_logger("asyncio").error(
        "unhandled_exception",
        detail=str(context.get("message", "")),
        exc_info=error if isinstance(error, BaseException) else None,
    )


def _clean(value: object) -> object:
    if isinstance(value, str):
        if _KEY_MARK not in value and "://" not in value:
            return value  # nearly all of them
        return _URL_PASSWORD.sub(r"\1:***@", redact(value))
    if isinstance(value, (int, float, type(None))):
        return value
    if isinstance(value, dict):
        return {str(name): _clean(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_clean(item) for item in value]
    return _clean(str(value))


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    get_logger("lessor").critical("uncaught_exception", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(hook: threading.ExceptHookArgs) -> None:
    error = hook.exc_value
    get_logger("lessor").critical("uncaught_exception", exc_info=error, thread=str(hook.thread))


def bind(**values: object) -> None:
    """Put ids on every further line of the call at hand."""
    _bound.set({**_bound.get(), **values})


def unbind() -> None:
    """Forget what was bound."""
    _bound.set(_NOTHING)


def bound() -> Mapping[str, object]:
    """The ids of the call at hand."""
    return _bound.get()
