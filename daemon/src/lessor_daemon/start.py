"""Where ``lessor serve`` begins: it can be stopped from here on.

Loading what a daemon consists of takes a second or two on a slow machine, and a signal that comes
meanwhile would end the process as a failure. So this module loads nothing itself.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon; ``argv`` is what follows ``lessor serve``."""
    # Until ``StopSignals`` takes over there is nothing to put away.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    from . import cli  # noqa: PLC0415  # slow: see above

    return cli.main(argv)
