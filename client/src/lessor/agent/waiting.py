"""How the agent waits: signals and the leash are served at once, whatever else is under way."""

from __future__ import annotations

import select

from lessor.clock import now_ms
from lessor.connection import TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .leashed import Leashed
    from .signals import Inbox

_LONGEST_POLL_MS = 250
# A poll's own time-out stands still while the machine is suspended; short ones notice the resume.


class Waiting:
    """What the transport waits with. ``serve`` may raise, which aborts the request."""

    def __init__(self, leashed: Leashed, inbox: Inbox, serve: Callable[[], None]) -> None:
        self._leashed = leashed
        self._serve = serve
        self._poller = select.poll()
        self._poller.register(leashed.fileno(), select.POLLIN)
        self._poller.register(inbox.fileno(), select.POLLIN)

    def __call__(self, fd: int, for_write: bool, until_ms: int) -> None:
        """As ``connection.Wait``. Raises ``TimedOut``."""
        if not self._wait_for(fd, select.POLLOUT if for_write else select.POLLIN, until_ms):
            raise TimedOut

    def pause(self, until_ms: int) -> None:
        """Wait for something to happen, at most until then."""
        self._wait_for(None, 0, until_ms)

    def _wait_for(self, fd: int | None, event: int, until_ms: int) -> bool:
        """Whether ``fd`` is ready. Without one, return after anything was served."""
        if fd is not None:
            self._poller.register(fd, event)
        try:
            while True:
                limit_ms = min(self._leashed.wake_in_ms, _LONGEST_POLL_MS)
                left_ms = until_ms - now_ms()
                ready = self._poller.poll(max(0, min(left_ms, limit_ms)))
                # Even when ``fd`` is ready too: a signal must not wait for its turn behind it.
                self._serve()
                if any(ready_fd == fd for ready_fd, _ in ready):
                    return True
                if left_ms <= 0 or (fd is None and ready):
                    return False
        finally:
            if fd is not None:
                self._poller.unregister(fd)
