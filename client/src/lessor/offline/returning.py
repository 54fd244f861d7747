"""Give an offline license back early: it is destroyed here, and the receipt says so."""

from __future__ import annotations

import os
from pathlib import Path

from lessor_protocol import offline as files

from lessor.admin.files import write_private
from lessor.errors import Denied, UsageError

from . import state
from .opened import returned_mark
from .seats import Seats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .opened import Opened


def give_back(opened: Opened, file: str, receipt_file: str) -> str:
    """Destroy the license and write its receipt; the receipt's text.

    Raises ``Denied`` while processes run under it, ``UsageError`` for files that cannot be written.
    In this order: never a receipt for a license that could still be used.
    """
    if Path(receipt_file).exists():
        raise UsageError(f"{receipt_file} is there already: name another with --receipt")
    license = opened.license
    seats = Seats(opened.folder, license.serial, license.seats)
    try:
        if not seats.take_all():
            raise Denied("processes run under this offline license: end them first")
        now = int(license.expires - opened.seconds_left())
        receipt = files.write_receipt(
            files.Receipt(license.serial, license.machine, now), license.return_seed
        )
        try:
            state.replace(returned_mark(opened), f"{now}\n")
        except OSError as error:
            raise UsageError(f"{opened.folder} cannot be written: {error.strerror}") from None
        write_private(receipt_file, receipt)
        try:
            os.unlink(file)  # noqa: PTH108 - what the user named, as it stands
        except OSError as error:
            raise UsageError(f"{file} cannot be removed: {error.strerror}; remove it") from None
        return receipt
    finally:
        seats.close()
