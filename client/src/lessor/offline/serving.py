"""What a server is to the agent, played by an offline license.

So everything else stays as it is: waiting, who holds the seats, deadlines, events, exit codes. The
lease lasts until the license expires, because from then on the server gives its seats to others:
leash and agent see to it that the tree is dead by then.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime

from lessor_protocol.errors import Problem
from lessor_protocol.messages import Lease, Lost, RenewAnswer
from lessor_protocol.queued import Holder, Queued, holders_of

from lessor import machine
from lessor.config import ClientConfig
from lessor.errors import Denied, NoAnswer, UsageError
from lessor.server import Server
from lessor.text import counted

from .opened import open_license
from .seats import Seats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lessor_protocol.messages import AcquireRequest, Renewal

    from lessor.agent.options import Options

    from .opened import Opened

_LOOK_EVERY_MS = 60_000
"""How often the clock is looked at and noted while a command runs."""
_SHORTEST_LOOK_MS = 500
_RETRY_MS = 250
"""Between two looks for a free seat. There is no line: who looks first gets it."""


def open_for(options: Options, environ: Mapping[str, str]) -> OfflineServer:
    """The license that ``--offline`` names, for ``lessor run``.

    Raises ``Denied`` for one that does not hold here, ``UsageError`` for what cannot be read.
    """
    here = machine.identify(environ, options.machine, options.ephemeral)
    opened = open_license(options.offline, environ, here.id)
    opened.check_valid()
    license = opened.license
    if options.license and options.license != license.license:
        raise UsageError(
            f"{options.offline} is of the license {license.license}, not {options.license}"
        )
    if options.least_seats > license.seats:
        held = counted(license.seats, "seat")
        raise UsageError(f"{options.offline} has {held}, fewer than are wanted")
    return OfflineServer(opened)


class OfflineServer(Server):
    """Opens its seats at once: agent and leash must share them, so before the fork."""

    def __init__(self, opened: Opened) -> None:
        super().__init__(ClientConfig((), ""))
        self._opened = opened
        self._license = opened.license
        self._seats = Seats(opened.folder, opened.license.serial, opened.license.seats)

    @property
    def url(self) -> str:
        """No URL, but what stands in its place for the command."""
        return f"offline:{self._license.serial}"

    def acquire(self, request: AcquireRequest, _timeout_ms: int) -> Lease | Queued:
        """A seat if one is free. Raises ``Problem``."""
        taken = self._seats.take(request.seats, request.most_seats, _holder_of(request))
        try:
            # Only now: it may have been returned, or have expired, while we waited.
            self._opened.check_valid()
        except Denied as refusal:
            self._seats.give_back()
            raise Problem("license_expired", str(refusal)) from None
        ttl_ms = self._ttl_ms()
        if taken:
            return Lease(
                lease_id=request.lease_id,
                license=self._license.license,
                token=0,  # nobody orders the leases of different machines here
                ttl_ms=ttl_ms,
                renew_after_ms=_renew_after_ms(ttl_ms),
                granted_at="",
                certificate="",
                machine=request.machine,
                process=request.process,
                labels=request.labels,
                seats=taken,
            )
        seats = counted(self._license.seats, "is", "are")
        full = Problem(
            "seats_exhausted",
            f"no seat of the offline license is free on this machine: {seats} in use",
            data={"holders": self._seats.holders()},
        )
        if request.wait_ms <= 0:
            raise full
        # Not all in step, should many wait.
        retry_ms = _RETRY_MS + random.randrange(_RETRY_MS)  # noqa: S311 - no secret
        return Queued(0, 0, "seats", holders_of(full), retry_ms)

    def renew(self, renewals: list[Renewal], _timeout_ms: int) -> RenewAnswer:
        """The same lease until the license expires, which a corrected clock may bring nearer."""
        ids = [renewal.lease_id for renewal in renewals]
        try:
            ttl_ms = self._ttl_ms()
        except UsageError as error:
            # A full disk must not end a healthy command: the last deadline holds.
            raise NoAnswer(str(error)) from None
        if ttl_ms <= 0:
            why = self.why_it_ends
            return RenewAnswer([], [Lost(one, "license_expired", why) for one in ids], 0, 0)
        return RenewAnswer(ids, [], ttl_ms, _renew_after_ms(ttl_ms))

    def release(self, _lease_id: bytes, _timeout_ms: int) -> None:
        """Set the seats free."""
        self._seats.give_back()

    def whoami(self, _timeout_ms: int) -> dict[str, object]:
        """Only what the agent asks for."""
        return {"organization": self._license.org, "default_license": self._license.license}

    def close(self) -> None:
        """Nothing: the kernel closes the seats when this process ends."""

    @property
    def license_name(self) -> str:
        """The license that the seats are of."""
        return self._license.license

    @property
    def why_it_ends(self) -> str:
        """What whoever runs something needs to know when the license's time is over."""
        until = datetime.fromtimestamp(self._license.expires).astimezone()
        return (
            f"the offline license {self._license.serial} expires at {until:%Y-%m-%d %H:%M:%S}; "
            "ask an admin for another one"
        )

    def _ttl_ms(self) -> int:
        return int(self._opened.seconds_left() * 1000)


def _renew_after_ms(ttl_ms: int) -> int:
    return max(_SHORTEST_LOOK_MS, min(_LOOK_EVERY_MS, ttl_ms // 4))


def _holder_of(request: AcquireRequest) -> dict[str, object]:
    return Holder(
        request.process.user,
        request.machine.name or request.machine.id,
        request.process.command,
        request.labels,
        f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    ).to_wire()
