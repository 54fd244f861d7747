"""API keys: ``lsr_<id>_<secret>``. The id may be shown, the secret never."""

PREFIX = "lsr"
_LONGEST = 256


def split_api_key(text: str) -> tuple[str, str]:
    """The key's id and secret. Raises ``ValueError``, which never quotes the text."""
    parts = text.split("_")
    well_formed = (
        len(text) <= _LONGEST
        and len(parts) == 3
        and parts[0] == PREFIX
        and all(part.isascii() and part.isalnum() for part in parts[1:])
    )
    if not well_formed:
        raise ValueError("not an API key of the form lsr_<id>_<secret>")
    return parts[1], parts[2]


def redact(text: str) -> str:
    """``text`` with the secret part of every API key in it taken out."""
    marker = PREFIX + "_"
    start = text.find(marker)
    while start >= 0:
        end = start
        while end < len(text) and (text[end].isalnum() or text[end] == "_"):
            end += 1
        shown = text[start:end]
        if shown != marker:  # else it is the form of a key, as messages show it
            shown = f"{marker}{shown.split('_')[1]}_***"
        text = text[:start] + shown + text[end:]
        start = text.find(marker, start + len(shown))
    return text
