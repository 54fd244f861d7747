"""Every line one event, and no secret in any."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from lessor_daemon import logs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

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


@pytest.fixture(params=[True, False], ids=["blocking", "non-blocking"])
def pipe(request: pytest.FixtureRequest) -> Iterator[tuple[int, TextIO]]:
    """A pipe that takes no more than it has room for, like a disk that is full in between."""
    reader, writer = os.pipe()
    os.set_blocking(writer, request.param)
    os.set_blocking(reader, False)
    with open(writer, "w", encoding="utf-8") as stream:  # noqa: PTH123  # a descriptor
        yield reader, stream
    os.close(reader)


def emptied(reader: int) -> bytes:
    return os.read(reader, 10 * 1024 * 1024)


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


def test_lines_that_cannot_be_written_are_lost_and_counted(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    logs.configure("json", stream=stream)
    log = logs.get_logger("lessor.test")
    for number in range(100):
        log.info("fills_it", number=number, text="x" * 10_000)
    *whole, torn = emptied(reader).split(b"\n")
    logging.getLogger("redis").warning("theirs")
    log.info("ours")
    end_of_torn, *written = emptied(reader).splitlines()
    assert torn
    assert end_of_torn == b""
    theirs, told, ours = map(json.loads, written)
    assert (theirs["event"], ours["event"]) == ("theirs", "ours")
    assert (told["event"], told["total"]) == ("log_lines_lost", 100 - len(whole))


def test_without_a_standard_error_all_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    logs.configure("console")
    logs.get_logger("lessor.test").info("lost")
    logging.getLogger("redis").warning("lost")


def test_what_a_library_logs_wrongly_is_a_line_as_well(out: io.StringIO) -> None:
    logs.configure("json", stream=out)
    logging.getLogger("redis").warning("%d", "one")
    (line,) = lines(out)
    assert (line["event"], line["logger"]) == ("unreadable_log_record", "redis")


def test_what_nobody_awaited_is_logged(out: io.StringIO) -> None:
    logs.configure("json", stream=out)
    loop: Any = None
    logs.log_loop_exception(loop, {"message": "task failed", "exception": ValueError("bad")})
    (line,) = lines(out)
    assert (line["event"], line["detail"]) == ("unhandled_exception", "task failed")
