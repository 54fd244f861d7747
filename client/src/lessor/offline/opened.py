"""Opening an offline license: whether it is genuine, for this machine, and still valid here."""

from __future__ import annotations

import json
from base64 import b64decode

from lessor_protocol import offline as files

from lessor.admin.files import read_text
from lessor.errors import Denied, UsageError

from . import trust
from .clock import Clock, read_clocks
from .state import directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lessor_protocol.offline import OfflineLicense

INSTALL = "offline licenses need one more package here: pip install cryptography"


class Opened:
    """A genuine license of this machine's, and what the machine knows of it."""

    def __init__(self, license: OfflineLicense, folder: Path, clock: Clock) -> None:
        self.license = license
        self.folder = folder
        self._clock = clock

    def seconds_left(self) -> float:
        """How long it is valid from now on, not above 0 once it has expired; notes the time."""
        now = max(self._clock.look(), self.license.issued)
        return self.license.expires - now

    def check_valid(self) -> None:
        """Raises ``Denied`` once it has expired or was returned."""
        if returned_mark(self).exists():
            raise Denied(f"the offline license {self.license.serial} was returned")
        if self.seconds_left() <= 0:
            raise Denied(
                f"the offline license {self.license.serial} has expired: ask an admin for "
                "another (if the clock of this machine was once far ahead, say so)"
            )


def open_license(file: str, environ: Mapping[str, str], machine_id: str) -> Opened:
    """Open a file for the machine ``machine_id``.

    Raises ``Denied`` if it is not genuine or another machine's, ``UsageError`` if it cannot be
    read or checked. Whether it is valid is asked separately, since that changes.
    """
    text = read_text(file, files.MAX_ARMOURED)
    _require_readable(file, text)
    keys = trust.read(environ)
    if not keys:
        raise Denied(
            "this machine knows no key that verifies offline licenses: lessor offline trust "
            "takes them from the server or from a file"
        )
    license = _verified(file, text, keys)
    if license.machine != machine_id:
        raise Denied(
            f"{file} is for the machine {license.machine!r}, and this is {machine_id!r}: "
            "ask an admin for one of its own"
        )
    return Opened(license, directory(environ), Clock(directory(environ), read_clocks))


def returned_mark(opened: Opened) -> Path:
    """The file that says that this license was returned."""
    return opened.folder / f"{opened.license.serial}.returned"


def require_cryptography() -> None:
    """Raises ``UsageError`` with what to install."""
    try:
        import cryptography  # noqa: F401, PLC0415 - heavy, and only to see whether it is there
    except ModuleNotFoundError:
        raise UsageError(INSTALL) from None


def _require_readable(file: str, text: str) -> None:
    """Raises ``UsageError`` for what is no license at all, or only a part of one.

    That needs another copy of the file. What can be read and does not hold is ``Denied``.
    """
    first, last = (f"-----{word} {files.LICENSE}-----" for word in ("BEGIN", "END"))
    lines = [line.strip() for line in text.strip().splitlines()]
    if not lines or lines[0] != first:
        raise UsageError(f"{file} is no offline license: it does not begin with {first}")
    if lines[-1] != last:
        raise UsageError(f"{file} is cut off: it does not end with {last}")
    try:
        json.loads(b64decode("".join(lines[1:-1]), validate=True)[files.SIGNATURE_BYTES :])
    except ValueError:
        raise UsageError(f"{file} is damaged: it cannot be read") from None


def _verified(file: str, text: str, keys: Mapping[str, bytes]) -> OfflineLicense:
    require_cryptography()
    try:
        license = files.read_license(text, keys)
    except files.BadFile as error:
        raise Denied(f"{file} is no offline license that holds here: {error}") from None
    if not license.serial.isalnum():  # it names files of ours
        raise Denied(f"{file} has a serial number that is not one")
    return license
