"""One organization's trouble stays its own."""

from __future__ import annotations

import pytest
import structlog
from lessor_daemon.containment import contained
from lessor_daemon.errors import ConfigurationError
from lessor_protocol.errors import Problem
from structlog.testing import capture_logs

log = structlog.get_logger()


@pytest.mark.parametrize(
    ("error", "event", "level"),
    [
        (Problem("store_unavailable", "it restarts"), "sweep_failed", "debug"),
        (ValueError("a bug"), "organization_failed", "error"),
    ],
)
def test_it_is_logged_with_its_organization(error: Exception, event: str, level: str) -> None:
    with capture_logs() as logged, contained(log, "sweep_failed", "acme"):
        raise error
    (line,) = logged
    assert (line["event"], line["org"], line["log_level"]) == (event, "acme", level)


def test_what_is_about_the_whole_daemon_ends_it() -> None:
    with pytest.raises(ConfigurationError), contained(log, "sweep_failed", "acme"):
        raise ConfigurationError("store", "is newer")
