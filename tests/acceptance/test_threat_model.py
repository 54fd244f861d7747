"""Each row of the threat model names the tests that cover it, or says why none does."""

from __future__ import annotations

import re

import pytest
from support.documents import ROOT, all_test_names

SURFACES = {
    "The HTTP port",
    "The stream",
    "Administration",
    "API keys",
    "Offline files and receipts",
    "The client and what it starts",
    "The store",
    "The embedded store",
    "Files of the daemon",
    "Metrics and probes",
    "The command line and the terminal",
    "Logs",
    "Backup files",
}
WHOLE = SURFACES - {"The client and what it starts", "The stream", "The store"}
"""Those with a row for each letter; the others leave some to the surface that they stand on."""


def surfaces() -> dict[str, list[list[str]]]:
    """The rows of each table by its heading: letters, threat, answer, tests."""
    text = (ROOT / "THREAT_MODEL.md").read_text("utf-8")
    found = {}
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        rows = [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in part.splitlines()
            if line.startswith("| ") and not line.startswith(("| | ", "| ---"))
        ]
        if rows:
            found[part.partition("\n")[0]] = rows
    return found


def test_every_surface_is_there_and_no_other() -> None:
    assert surfaces().keys() == SURFACES


@pytest.mark.parametrize("surface", sorted(SURFACES))
def test_every_row_names_a_test_that_exists_or_says_that_there_is_none(surface: str) -> None:
    for letters, threat, answer, tests in surfaces()[surface]:
        assert set(letters.split(", ")) <= set("STRIDE"), threat
        named = re.findall(r"`(test_\w+)`", tests)
        assert named or tests.startswith("none"), threat
        assert set(named) <= all_test_names(), threat
        assert answer or tests == "none needed", threat


@pytest.mark.parametrize("surface", sorted(WHOLE))
def test_no_kind_of_threat_is_left_out(surface: str) -> None:
    letters = {letter for row in surfaces()[surface] for letter in row[0].split(", ")}
    assert letters == set("STRIDE")
