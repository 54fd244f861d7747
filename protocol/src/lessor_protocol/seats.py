"""How many seats a run takes, as people write it: ``4``, or ``2..8`` for what is free of that."""

from .message import MAX_SEATS


def parse_seats(text: str) -> tuple[int, int]:
    """The least and the most. Raises ``ValueError`` with a message for the person who typed it."""
    least_text, dots, most_text = text.partition("..")
    texts = [least_text, most_text] if dots else [least_text]
    if all(one.isascii() and one.isdigit() and len(one) <= 6 for one in texts):
        least, most = int(texts[0]), int(texts[-1])
        if 1 <= least <= most <= MAX_SEATS:
            return least, most
    raise ValueError(f"{text!r} is not a number of seats such as 4 or 2..8")
