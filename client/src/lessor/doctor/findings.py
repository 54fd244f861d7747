"""What was found on one hop."""

from __future__ import annotations

from lessor import exits

OK, WARNING, FAILED = "ok", "warning", "failed"


class Finding:
    """One hop: how it is, what was seen, and what to do or whom to ask (empty if nothing)."""

    __slots__ = ("advice", "exit_code", "hop", "status", "text")

    def __init__(
        self, hop: str, status: str, text: str, advice: str = "", exit_code: int = exits.OK
    ) -> None:
        self.hop = hop
        self.status = status
        self.text = text
        self.advice = advice
        self.exit_code = exit_code

    def to_json(self) -> dict[str, object]:
        """For programs."""
        found: dict[str, object] = {"hop": self.hop, "status": self.status, "text": self.text}
        if self.advice:
            found["advice"] = self.advice
        return found


def ok(hop: str, text: str) -> Finding:
    """All is well."""
    return Finding(hop, OK, text)


def warning(hop: str, text: str, advice: str) -> Finding:
    """It works, but will not for long, or not for everything."""
    return Finding(hop, WARNING, text, advice)


def unreachable(hop: str, text: str, advice: str) -> Finding:
    """The way ends here."""
    return Finding(hop, FAILED, text, advice, exits.UNREACHABLE)


def denied(hop: str, text: str, advice: str) -> Finding:
    """The server refuses."""
    return Finding(hop, FAILED, text, advice, exits.DENIED)


def misconfigured(hop: str, text: str, advice: str = "") -> Finding:
    """A setting of this machine is wrong."""
    return Finding(hop, FAILED, text, advice, exits.USAGE)
