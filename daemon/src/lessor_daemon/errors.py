"""What may go wrong with the daemon as a whole. Errors of single calls are ``Problem``."""

from __future__ import annotations


class DaemonError(Exception):
    """Ends the daemon; ``exit_code`` follows sysexits.h."""

    exit_code = 70


class ConfigurationError(DaemonError):
    """Something the operator set cannot work. The text names the setting and its place."""

    exit_code = 78

    def __init__(self, place: str, why: str) -> None:
        super().__init__(f"{place}: {why}")
        self.place = place
        self.why = why
