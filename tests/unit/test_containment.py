"""One organization's trouble stays its own."""

from __future__ import annotations

import pytest
import structlog
from lessor_daemon.containment import contained, mistakes_contained
from lessor_daemon.errors import ConfigurationError
from lessor_daemon.store.errors import StoreUnavailable
from lessor_protocol.errors import Problem
from structlog.testing import capture_logs

log = structlog.get_logger()


@pytest.mark.parametrize(
    ("error", "event", "level"),
    [
        (Problem("store_unavailable", "it restarts"), "sweep_failed", "debug"),
        (StoreUnavailable("it restarts"), "sweep_failed", "debug"),
        (ValueError("a bug"), "organization_failed", "error"),
    ],
)
def test_it_is_logged_with_its_organization(error: Exception, event: str, level: str) -> None:
    with capture_logs() as logged, contained(log, "sweep_failed", "acme"):
        raise error
    (line,) = logged
    assert (line["event"], line["org"], line["log_level"]) == (event, "acme", level)


def test_what_is_about_no_organization_ends_no_task_either() -> None:
    with capture_logs() as logged, contained(log, "organizations_unknown"):
        raise ValueError("odd content of the store")
    assert (logged[0]["event"], logged[0]["reason"]) == ("task_failed", "organizations_unknown")


@pytest.mark.parametrize(
    "error", [Problem("store_unavailable", "it restarts"), StoreUnavailable("it restarts")]
)
def test_who_calls_may_have_to_hear_of_the_store(error: Exception) -> None:
    with pytest.raises(type(error)), mistakes_contained(log, "sweep_failed", "acme"):
        raise error
    with capture_logs() as logged, mistakes_contained(log, "sweep_failed", "acme"):
        raise ValueError("a bug")
    assert logged[0]["event"] == "organization_failed"


def test_what_is_about_the_whole_daemon_ends_it() -> None:
    with pytest.raises(ConfigurationError), contained(log, "sweep_failed", "acme"):
        raise ConfigurationError("store", "is newer")
