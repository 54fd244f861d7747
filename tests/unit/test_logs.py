"""Every line one event, and no secret in any."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from lessor_daemon import logs

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "lsr_abc_Sup3rS3cret"


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Undo what ``configure`` changes in the process."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    hooks = sys.excepthook, threading.excepthook
    yield
    root.handlers, root.level = handlers, level
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    logs.unbind()


@pytest.fixture
def out() -> io.StringIO:
    """Where the lines go."""
    return io.StringIO()


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_our_events_and_those_of_libraries_become_json_alike(out: io.StringIO) -> None:
    logs.configure("json", stream=out)
    logs.get_logger("lessor.test").info("lease_granted", token=7)
    logging.getLogger("aiohttp.server").error("it %s", "broke")
    ours, theirs = lines(out)
    assert (ours["event"], ours["token"], ours["level"]) == ("lease_granted", 7, "info")
    assert (theirs["event"], theirs["logger"]) == ("it broke", "aiohttp.server")


def test_ids_that_were_bound_stand_on_every_line(out: io.StringIO) -> None:
    logs.configure("json", stream=out)
    logs.bind(request="r1", org="acme")
    logging.getLogger("redis").warning("slow")
    assert (lines(out)[0]["request"], lines(out)[0]["org"]) == ("r1", "acme")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_api_key_and_no_password_is_written(out: io.StringIO, log_format: str) -> None:
    logs.configure(log_format, stream=out)
    log = logs.get_logger("lessor.test")
    event = f"key {SECRET}"
    log.info(event, header=f"Bearer {SECRET}", deep=[{"k": SECRET}], raw=SECRET.encode())
    log.info("connecting", url="redis://user:Sup3rS3cret@store:6379/0")
    try:
        raise ValueError(f"bad {SECRET}")
    except ValueError:
        log.exception("failed")
    assert "Sup3rS3cret" not in out.getvalue()
    assert "lsr_abc_***" in out.getvalue()
    assert "store:6379" in out.getvalue()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_exception_shows_no_local_variable(out: io.StringIO, log_format: str) -> None:
    logs.configure(log_format, stream=out)
    secret = "hunter2"
    try:
        raise ValueError(len(secret))
    except ValueError:
        logs.get_logger("lessor.test").exception("failed")
    assert "ValueError" in out.getvalue()
    assert secret not in out.getvalue()


def test_an_exception_is_one_line_of_json(out: io.StringIO) -> None:
    logs.configure("json", stream=out)
    try:
        raise ValueError("bad")
    except ValueError:
        logs.get_logger("lessor.test").exception("failed")
    (line,) = lines(out)
    assert line["exception"][0]["exc_type"] == "ValueError"


def test_warnings_and_uncaught_exceptions_are_logged(out: io.StringIO) -> None:
    logs.configure("json", stream=out)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logs.configure("json", stream=out)
        warnings.showwarning("old", DeprecationWarning, "file.py", 1)
    sys.excepthook(ValueError, ValueError("bad"), None)
    threading.excepthook(
        threading.ExceptHookArgs((ValueError, ValueError("worse"), None, threading.main_thread()))
    )
    warned, uncaught, in_thread = lines(out)
    assert warned["logger"] == "py.warnings"
    assert uncaught["event"] == in_thread["event"] == "uncaught_exception"


def test_a_value_that_is_no_json_is_shown_as_text(out: io.StringIO) -> None:
    logs.configure("json", stream=out)
    logs.get_logger("lessor.test").info("odd", value=object(), key={1: {2, 3}})
    assert lines(out)[0]["event"] == "odd"


def test_debug_lines_come_only_when_asked_for(out: io.StringIO) -> None:
    logs.configure("json", stream=out)
    logs.get_logger("lessor.test").debug("detail")
    assert out.getvalue() == ""
    logs.configure("json", "debug", stream=out)
    logs.get_logger("lessor.test").debug("detail")
    assert lines(out)[0]["event"] == "detail"


def test_what_nobody_awaited_is_logged(out: io.StringIO) -> None:
    logs.configure("json", stream=out)
    loop: Any = None
    logs.log_loop_exception(loop, {"message": "task failed", "exception": ValueError("bad")})
    (line,) = lines(out)
    assert (line["event"], line["detail"]) == ("unhandled_exception", "task failed")
