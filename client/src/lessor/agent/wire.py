"""What agent and leash say to each other over one socket pair.

Each message is one packet: a word and its fields, all text. Packets keep their order and their
bounds, and a closed end shows at once: that is how each learns of the other's death.

Agent to leash; every one carries a running number and is acknowledged with it:

==================================  ================================================================
``asked``                           a seat is being asked for: from now on there is one to give back
``start deadline ttl name=value …``  run the command, with these in its environment
``hold deadline ttl``               the lease holds until ``deadline``
``signal n``                        pass signal ``n`` on to the command's process group
``stop why``                        ask the whole tree to stop, kill it after ``--kill-after``
``kill why``                        kill the whole tree now
``resume give``                     continue the command; ``give`` 1: the terminal is its own again
``ping``                            are you there?
``mine``                            the tree is gone, and I give the seat back
==================================  ================================================================

Leash to agent:

==================================  ================================================================
``ack n``                           message ``n`` was read and counts
``started pid``                     the command runs
``unstartable errno why``           it could not be executed
``stopped n``                       signal ``n`` stopped the command (job control)
``stopping why``                    the tree is being stopped
``exited status``                   the command ended, with this wait status
``leftover count names``            it left descendants, which are being stopped
``gone why``                        nothing of the tree is left; ``why`` it was stopped, or empty
==================================  ================================================================
"""

from __future__ import annotations

import socket

_SEPARATOR = b"\0"
_LARGEST = 65_536


class Line:
    """One end. Neither sending nor receiving ever waits."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._was_reset = False
        self.is_open = True

    def fileno(self) -> int:
        """For ``poll``."""
        return self._socket.fileno()

    def send(self, word: str, *fields: object) -> bool:
        """Whether the message is on its way.

        A peer that is frozen fills the line, a dead one breaks it: neither may hold us up.
        """
        packet = _SEPARATOR.join(
            str(part).encode("utf-8", "surrogateescape") for part in (word, *fields)
        )
        try:
            self._socket.send(packet)
        except OSError:
            return False
        return True

    def receive(self) -> list[list[str]]:
        """All messages that have arrived. Sets ``is_open`` to false when the peer is gone."""
        messages: list[list[str]] = []
        while self.is_open:
            try:
                packet = self._socket.recv(_LARGEST)
            except BlockingIOError:
                break
            except ConnectionResetError:
                # Said once, and first, of a peer that left something unread; what it had sent
                # before is still there.
                if not self._was_reset:
                    self._was_reset = True
                    continue
                packet = b""
            except OSError:
                packet = b""
            if packet:
                parts = packet.split(_SEPARATOR)
                messages.append([part.decode("utf-8", "surrogateescape") for part in parts])
            else:
                self.is_open = False
        return messages

    def close(self) -> None:
        """Let the peer see that we are done."""
        self.is_open = False
        self._socket.close()


def pair() -> tuple[Line, Line]:
    """The two ends; closed by exec."""
    try:
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except OSError:
        # Not Linux. A peer's death may show no sooner than at the deadline, by its silence.
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return Line(one), Line(other)
