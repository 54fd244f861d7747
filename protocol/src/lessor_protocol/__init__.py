"""The words of Lessor: messages, codec, errors and lease arithmetic, shared by client and daemon.

Nothing in this package does I/O, reads a clock or knows an event loop. Modules that
``lessor run`` loads also keep away from ``typing``, ``dataclasses`` and ``re`` at run time:
each costs several milliseconds at every start of a test process.
"""

__version__ = "0.1.0"

PROTOCOL_VERSION = 1
"""Sent as ``Lessor-Protocol`` with every request; a server refuses versions it does not know."""
