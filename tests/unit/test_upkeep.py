"""Reminders before a license expires: 30, 7 and 1 days ahead, and when it has."""

from __future__ import annotations

import pytest
from lessor_daemon.directory.licenses import due_reminder

DAY = 86_400


@pytest.mark.parametrize(
    ("days_left", "reminder"),
    [
        (31, None),
        (30.1, None),
        (30, 30),
        (8, 30),
        (7, 7),
        (1.5, 7),
        (1, 1),
        (0.01, 1),
        (0, 0),
        (-9, 0),
    ],
)
def test_the_reminder_that_is_due(days_left: float, reminder: int | None) -> None:
    assert due_reminder(days_left * DAY) == reminder
