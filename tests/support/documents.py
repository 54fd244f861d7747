"""What the documents say, taken apart so that tests can hold it against the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *(ROOT / name / "README.md" for name in ("protocol", "client", "daemon")),
    ]
)
SOURCES = sorted(
    path
    for folder in ("protocol", "client", "daemon")
    for suffix in ("py", "lua")
    for path in (ROOT / folder / "src").rglob(f"*.{suffix}")
)

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}


class Block(NamedTuple):
    """A fenced block and the language it is said to be in."""

    language: str
    text: str


def blocks(path: Path, *languages: str) -> list[Block]:
    """The fenced blocks of a document, all or those in ``languages``."""
    found = [Block(match[2], match[3]) for match in _FENCE.finditer(path.read_text())]
    return [block for block in found if not languages or block.language in languages]


def code_words(path: Path) -> Iterator[str]:
    """What stands in code font outside of blocks."""
    yield from _CODE.findall(_FENCE.sub("", path.read_text()))


def links(path: Path) -> Iterator[str]:
    """The targets of links to files and headings of the project."""
    for target in _LINK.findall(_FENCE.sub("", path.read_text())):
        if "://" not in target:
            yield target


def headings(path: Path) -> set[str]:
    """The headings of a document as the fragments that lead to them."""
    texts = re.findall(r"^#+ (.+)$", _FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


def commands(text: str) -> Iterator[str]:
    """The ``lessor`` command lines in a text, continued lines joined, up to the wrapped command."""
    for line in text.replace("\\\n", " ").splitlines():
        match = re.search(r"(?:^|[\s'/])(lessor (?:run|acquire|release|status|serve)\b.*)", line)
        if match:
            yield re.split(r" -- | #|'", match[1])[0].strip()


def all_test_names() -> set[str]:
    """Every test there is."""
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        found.update(re.findall(r"def (test_\w+)", path.read_text()))
    return found


def log_events(*, with_debug: bool = True) -> set[str]:
    """The events that the daemon logs, from its source."""
    found: set[str] = set()
    for path in SOURCES:
        if path.suffix == ".py" and "lessor_daemon" in path.parts:
            events = _events_of(ast.parse(path.read_text()))
            found.update(event for level, event in events if with_debug or level != "debug")
    return found


def _events_of(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Level and event of calls such as ``_log.info("event", …)`` and ``self._log.error("event")``.

    The level of the store's own lines is looked up: ``getattr(self._log, level)("store", …)``.
    """
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called, event = node.func, node.args[0]
        is_ours = isinstance(called, ast.Attribute) and called.attr in _LEVELS
        logger: ast.AST = called.value if isinstance(called, ast.Attribute) else called
        if isinstance(called, ast.Call) and ast.unparse(called.func) == "getattr":
            is_ours, logger = True, called.args[0]
        names = re.split(r"[.(]", ast.unparse(logger))
        is_ours = is_ours and bool({"_log", "log", "get_logger"} & set(names))
        if is_ours and isinstance(event, ast.Constant) and isinstance(event.value, str):
            level = called.attr if isinstance(called, ast.Attribute) else "info"
            yield level, event.value
