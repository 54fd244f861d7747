"""A host behind which packets vanish, as after a lost machine or behind a firewall that drops."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """The URL of a port that neither accepts nor refuses: its line of connections is full."""
    with contextlib.ExitStack() as opened:
        listening = opened.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        address = listening.getsockname()
        while True:
            attempt = opened.enter_context(socket.socket())
            attempt.settimeout(0.2)
            try:
                attempt.connect(address)
            except TimeoutError:
                break
        yield f"http://127.0.0.1:{address[1]}"
