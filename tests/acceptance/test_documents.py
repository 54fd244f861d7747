"""What the documents name exists: tests, files, options, metrics, codes, events, functions."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from functools import cache
from typing import TYPE_CHECKING

import pytest
from lessor import exits
from lessor.completion import words
from lessor_daemon.bootstrap import read_bootstrap
from lessor_daemon.config import OPTIONS
from lessor_daemon.metrics import Metrics
from lessor_protocol import timing
from lessor_protocol.errors import HTTP_STATUS
from support.documents import (
    DOCUMENTS,
    ROOT,
    SOURCES,
    all_test_names,
    blocks,
    code_words,
    commands,
    headings,
    links,
    log_events,
)

if TYPE_CHECKING:
    from pathlib import Path

each_document = pytest.mark.parametrize(
    "path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)

OPERATIONS = ROOT / "docs" / "operations.md"
GUARANTEES = ROOT / "docs" / "guarantees.md"
RECIPES = sorted(
    path for path in (ROOT / "deploy").rglob("*") if path.is_file() and path.suffix != ".pyc"
)
PACKAGES = {"lessor_protocol", "lessor_daemon"}
"""Names that look like metrics and are none."""


@cache
def help_of(command: str) -> str:
    shown = subprocess.run(
        [sys.executable, "-m", "lessor", *command.split(), "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    return shown.stdout


@cache
def texts() -> list[str]:
    return [path.read_text() for path in SOURCES]


@cache
def source() -> str:
    return "\n".join(texts())


def exposed_metrics() -> set[str]:
    text = Metrics().exposition([]).decode()
    names = set(re.findall(r"^# TYPE (lessor_\w+)", text, re.MULTILINE))
    return names | {f"{name}{suffix}" for name in names for suffix in ("_bucket", "_sum", "_count")}


@each_document
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in links(path):
        name, _, fragment = target.partition("#")
        file = path.parent / name if name else path
        assert file.exists(), target
        if fragment:
            assert fragment in headings(file), target


@each_document
def test_every_test_that_is_named_exists(path: Path) -> None:
    named = {word for word in code_words(path) if re.fullmatch(r"test_\w+", word)}
    assert named <= all_test_names()


@pytest.mark.parametrize(
    "path", [*DOCUMENTS, *RECIPES], ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_option_in_a_command_is_in_its_help(path: Path) -> None:
    text = path.read_text()
    if path in DOCUMENTS:
        text = "\n".join([*(block.text for block in blocks(path)), *code_words(path)])
    for command in commands(text):
        _, name, *rest = command.split()
        for word in rest:
            if re.match(r"--?[a-zA-Z]", word):
                option = word.partition("=")[0]
                assert re.search(rf"(?<![\w-]){option}(?![\w-])", help_of(name)), command


@each_document
def test_every_option_in_code_font_is_of_some_command(path: Path) -> None:
    helps = " ".join(option for place in words.places() for option in place.options)
    helps += help_of("serve")
    for word in code_words(path):
        if re.match(r"--[a-z]", word):
            option = re.split(r"[ =]", word)[0]
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", helps), word


@pytest.mark.parametrize(
    "path", [*DOCUMENTS, *RECIPES], ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_metric_that_is_named_is_exposed(path: Path) -> None:
    named = set(re.findall(r"\blessor_[a-z_]+", path.read_text()))
    assert named - PACKAGES <= exposed_metrics()


@each_document
def test_every_name_in_code_font_is_in_the_source(path: Path) -> None:
    """Error codes, events, settings and functions alike."""
    for word in code_words(path):
        if re.fullmatch(r"(?:[A-Za-z]\w*\.)?_?[a-z]+(?:_[a-z]+)+", word):
            last = word.rpartition(".")[2]
            known = last in source() or last in all_test_names() or last in exposed_metrics()
            assert known, word


def test_every_error_code_that_operations_names_is_one() -> None:
    codes = {
        "store_unavailable",
        "unsupported_version",
        "seats_exhausted",
        "recovering",
        "draining",
    }
    assert codes <= set(code_words(OPERATIONS))
    assert codes <= set(HTTP_STATUS)


def test_every_file_and_function_of_the_architecture_is_there() -> None:
    homes = ("", "client/src/lessor", "daemon/src/lessor_daemon")
    for word in code_words(ROOT / "docs" / "architecture.md"):
        if re.fullmatch(r"[\w/]+\.(?:py|lua|toml)", word):
            files = [path for path in SOURCES if path.match(word)]
            assert files or any((ROOT / home / word).is_file() for home in homes), word
        elif method := re.fullmatch(r"([A-Z]\w+)\.(\w+)", word):
            # The class, and in the same file the method.
            pattern = rf"class {method[1]}\b"
            homes_of_class = [text for text in texts() if re.search(pattern, text)]
            assert any(f"def {method[2]}(" in text for text in homes_of_class), word
        elif re.fullmatch(r"[a-z_]+", word) and "_" in word and word not in PACKAGES:
            assert re.search(rf"(?:def|function) {word}\b", source()), word


def test_every_dependency_has_its_reason() -> None:
    reasons = (ROOT / "docs" / "adr" / "0001-dependencies.md").read_text().lower()
    for folder in ("", "protocol", "client", "daemon"):
        project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())
        wanted = project["build-system"]["requires"] + project["project"]["dependencies"]
        wanted += project.get("dependency-groups", {}).get("dev", [])
        for name in (re.split(r"[\[ =<>;@]", one)[0].lower() for one in wanted):
            assert name.startswith("lessor") or re.search(rf"\b{name}\b", reasons), name


def test_the_line_that_counts_is_quoted_as_it_stands() -> None:
    (block,) = blocks(ROOT / "docs" / "architecture.md", "lua")
    assert block.text.strip() in source()


def test_all_metrics_are_explained() -> None:
    explained = set(re.findall(r"lessor_[a-z_]+", OPERATIONS.read_text()))
    named = re.findall(r"^# TYPE (lessor_\w+)", Metrics().exposition([]).decode(), re.MULTILINE)
    assert {name for name in named if not name.endswith("_created")} <= explained


def test_all_options_of_the_server_are_explained() -> None:
    words = set(code_words(OPERATIONS))
    assert {option.flag for option in OPTIONS} <= words


def test_all_events_of_the_log_are_explained_and_no_other() -> None:
    text = OPERATIONS.read_text()
    part = text[text.index("\n## Logs") : text.index("\n## Backup")]
    first_cells = re.findall(r"^\| (`[^|]+) \|", part, re.MULTILINE)
    told = {word for cell in first_cells for word in re.findall(r"`(\w+)`", cell)}
    assert log_events(with_debug=False) <= told <= log_events()


def test_the_exit_codes_of_the_readme_are_those_of_the_client() -> None:
    text = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| ([\d, ]+) \|", text, re.MULTILINE)
    told = {int(code) for row in rows for code in row.split(",")}
    meant = {code for name, code in vars(exits).items() if name.isupper()}
    assert told == meant - {exits.OK, exits.BY_SIGNAL}


def test_each_clause_of_the_promise_names_its_tests() -> None:
    text = GUARANTEES.read_text()
    part = text[text.index("\n## Clause by clause") : text.index("\n## Assumptions")]
    clauses = re.split(r"^\*\*", part, flags=re.MULTILINE)[1:]
    assert len(clauses) > 10
    for clause in clauses:
        assert re.search(r"`test_\w+`", clause), clause.partition("**")[0]


def test_each_hole_names_what_shows_it_or_why_nothing_does() -> None:
    text = GUARANTEES.read_text()
    part = text[text.index("\n## Holes") :]
    rows = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("| ")]
    rows = [row for row in rows if row[0].strip() not in ("hole", "---")]
    assert len(rows) > 10
    for hole, what, shown in rows:
        assert re.search(r"`[\w-]+`|none: \w+", shown), hole
        assert what.strip(), hole


def test_the_bootstrap_file_of_the_operations_can_be_read(tmp_path: Path) -> None:
    (block,) = blocks(OPERATIONS, "toml")
    file = tmp_path / "bootstrap.toml"
    file.write_text(block.text)
    found = read_bootstrap(file, min_ttl_ms=timing.MIN_TTL_MS, max_ttl_ms=timing.MAX_TTL_MS)
    assert found.organizations[0].licenses[0].seats == 5


def test_the_recovery_time_of_the_documents_is_what_the_arithmetic_gives() -> None:
    behind_redis = timing.recovery_ms(timing.MAX_TTL_MS, failover_ms=10_000)
    durable = timing.recovery_ms(timing.MAX_TTL_MS)
    wanted = f"{behind_redis // 1000} s as set; {durable // 1000} s without"
    assert wanted in GUARANTEES.read_text()
    assert f"({behind_redis // 1000} s as set)" in OPERATIONS.read_text()
