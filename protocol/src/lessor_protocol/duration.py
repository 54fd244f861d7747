"""Durations as people write them: ``90``, ``90s``, ``10m``, ``1h30m``, ``1.5s``."""

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LONGEST_MS = 10 * 365 * 86_400_000


def parse_duration_ms(text: str) -> int:
    """Milliseconds of a duration; a bare number counts seconds.

    Raises ``ValueError`` with a message fit for the person who typed it.
    """
    source = text.strip()
    total = 0.0
    position = 0
    while position < len(source):
        start = position
        while position < len(source) and source[position] in "0123456789.":
            position += 1
        number = source[start:position]
        start = position
        while position < len(source) and source[position].isalpha():
            position += 1
        unit = source[start:position]
        bare = not unit and number == source
        if not _is_number(number) or not (bare or unit in _UNITS_MS):
            break
        total += float(number) * _UNITS_MS[unit or "s"]
    else:
        if source and total <= _LONGEST_MS:
            return round(total)
    raise ValueError(f"{text!r} is not a duration such as 90, 90s, 10m, 1h30m or 1.5s")


def _is_number(text: str) -> bool:
    return text.count(".") <= 1 and text.replace(".", "", 1).isdigit()


def format_duration(ms: int) -> str:
    """The shortest exact spelling down to tenths of a second: ``1h30m``, ``12s``, ``0.3s``."""
    if ms < 10_000 and ms % 1_000:
        return f"{ms / 1000:.1f}s"
    seconds = ms // 1000
    parts = [(seconds // 3600, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s")]
    return "".join(f"{n}{unit}" for n, unit in parts if n) or "0s"
