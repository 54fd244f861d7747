"""The options of ``lessor run``, read without ``argparse``: it costs a tenth of our start-up."""

from __future__ import annotations

from lessor_protocol.duration import parse_duration_ms
from lessor_protocol.fields import is_plain_text
from lessor_protocol.message import MAX_LABEL_TEXT
from lessor_protocol.seats import parse_seats

from lessor.errors import UsageError

from . import narrator
from .signals import parse_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

HELP = """\
usage: lessor run [options] -- CMD [ARG…]

Runs CMD only while it holds a seat. CMD is executed as it stands, never through a shell.

  -l, --license NAME        which license (LESSOR_LICENSE, else the only floating one)
  -w, --wait DURATION       how long to wait for a seat (no limit)
  -n, --no-wait             do not wait, the same as -w 0
  -N, --seats N|MIN..MAX    seats this run takes, together (1)
  -s, --signal SIG          how the process tree is asked to stop (TERM)
  -k, --kill-after DURATION how long it may take to stop before it is killed (5s)
      --on-lost kill|warn   what happens when the lease is lost (kill)
      --on-notice CMD       run CMD when an admin asks this run to finish
      --notice-signal SIG   send the command SIG then
      --label K=V           shown to others who wait; may be repeated
  -m, --machine ID          machine identity (found out)
      --ephemeral           the machine is forgotten with its last lease
      --persistent          it is remembered
      --offline FILE        use an offline license, no server
      --connect-timeout DURATION
                            how long to try to reach a server (30s; one try with -n)
      --nested              take another seat inside a run on the same license
  -E CODE                   exit code for "no seat" (75)
  -q, --quiet               say only what went wrong
  -v, --verbose             say more
      --events-fd N         write JSON events, one a line, to descriptor N
  -h, --help                this text

DURATION: 90, 90s, 10m, 1h30m, 1.5s.
Exit codes: the command's own; 128+n if signal n ended it; 69 no server; 75 no seat; 77 denied;
78 usage; 79 lease lost; 125 lessor failed; 126 not executable; 127 not found.
"""

_SHORT = {
    "-l": "--license",
    "-w": "--wait",
    "-n": "--no-wait",
    "-N": "--seats",
    "-s": "--signal",
    "-k": "--kill-after",
    "-m": "--machine",
    "-E": "-E",
    "-q": "--quiet",
    "-v": "--verbose",
    "-h": "--help",
}
_FLAGS = frozenset(
    {
        "--no-wait",
        "--ephemeral",
        "--persistent",
        "--nested",
        "--quiet",
        "--verbose",
        "--help",
    }
)
_WITH_VALUE = frozenset(
    {
        "--license",
        "--wait",
        "--seats",
        "--signal",
        "--kill-after",
        "--on-lost",
        "--on-notice",
        "--notice-signal",
        "--label",
        "--machine",
        "--offline",
        "--connect-timeout",
        "-E",
        "--events-fd",
    }
)


class Options:
    """What the user asked for.

    ``wait_ms`` ``None`` waits for ever; ``command`` is empty only when ``help`` is set.
    """

    __slots__ = (
        "command",
        "connect_timeout_ms",
        "ephemeral",
        "events_fd",
        "help",
        "kill_after_ms",
        "labels",
        "least_seats",
        "level",
        "license",
        "machine",
        "most_seats",
        "nested",
        "no_seat_code",
        "notice_signal",
        "offline",
        "on_notice",
        "stop_signal",
        "wait_ms",
        "warn_on_lost",
    )

    def __init__(self) -> None:
        self.command: list[str] = []
        self.connect_timeout_ms = 30_000
        self.ephemeral: bool | None = None
        self.events_fd: int | None = None
        self.help = False
        self.kill_after_ms = 5_000
        self.labels: dict[str, str] = {}
        self.least_seats = 1
        self.level = narrator.NORMAL
        self.license = ""
        self.machine: str | None = None
        self.most_seats = 1
        self.nested = False
        self.no_seat_code: int | None = None
        self.notice_signal: int | None = None
        self.on_notice: list[str] = []
        self.offline = ""
        self.stop_signal = parse_signal("TERM")
        self.wait_ms: int | None = None
        self.warn_on_lost = False


def parse(argv: list[str]) -> Options:
    """Read the arguments after ``lessor run``. Raises ``UsageError``."""
    options = Options()
    rest = list(argv)
    while rest and rest[0].startswith("-") and rest[0] != "--":
        _take_option(options, rest)
    options.command = rest[1:] if rest[:1] == ["--"] else rest
    if not options.command and not options.help:
        _complain("no command to run: lessor run [options] -- CMD [ARG…]")
    return options


def _take_option(options: Options, rest: list[str]) -> None:
    """Take one option, and its value, off the front of ``rest``."""
    word = rest.pop(0)
    name, value, following = _split(word)
    if following is not None:
        rest.insert(0, following)
    if name in _FLAGS:
        if value is not None:
            _complain(f"{name} takes no value")
        _set_flag(options, name)
    elif name in _WITH_VALUE:
        if value is None:
            if not rest:
                _complain(f"{name} needs a value")
            value = rest.pop(0)
        _set_value(options, name, value)
    else:
        _complain(f"{word!r} is not an option")


def _split(word: str) -> tuple[str, str | None, str | None]:
    """The option's long name, its value if joined, and flags that were joined: ``-nq``."""
    if word.startswith("--"):
        name, mark, value = word.partition("=")
        return name, value if mark else None, None
    name = _SHORT.get(word[:2], word)
    joined = word[2:]
    if not joined:
        return name, None, None
    if name in _FLAGS:
        return name, None, f"-{joined}"
    return name, joined.removeprefix("="), None


def _set_flag(options: Options, name: str) -> None:
    if name == "--no-wait":
        options.wait_ms = 0
    elif name in ("--ephemeral", "--persistent"):
        options.ephemeral = name == "--ephemeral"
    elif name == "--nested":
        options.nested = True
    elif name == "--quiet":
        options.level = narrator.QUIET
    elif name == "--verbose":
        options.level = narrator.VERBOSE
    else:
        options.help = True


def _set_value(options: Options, name: str, value: str) -> None:
    try:
        _read_value(options, name, value)
    except ValueError as error:
        _complain(f"{name}: {error}")


def _read_value(options: Options, name: str, value: str) -> None:
    if name == "--license":
        options.license = _plain(value, "a license name")
    elif name == "--wait":
        options.wait_ms = parse_duration_ms(value)
    elif name == "--connect-timeout":
        options.connect_timeout_ms = parse_duration_ms(value)
    elif name == "--kill-after":
        options.kill_after_ms = parse_duration_ms(value)
    elif name == "--signal":
        options.stop_signal = parse_signal(value)
    elif name == "--machine":
        options.machine = _plain(value, "a machine id")
    elif name == "--label":
        _add_label(options.labels, value)
    else:
        _read_rare_value(options, name, value)


def _read_rare_value(options: Options, name: str, value: str) -> None:
    if name == "--on-lost":
        if value not in ("kill", "warn"):
            raise ValueError(f"{value!r} is neither kill nor warn")
        options.warn_on_lost = value == "warn"
    elif name == "--on-notice":
        options.on_notice = _words(value)
    elif name == "--notice-signal":
        options.notice_signal = parse_signal(value)
    elif name == "-E":
        options.no_seat_code = _number(value, 255)
    elif name == "--events-fd":
        options.events_fd = _number(value, 1 << 20)
    elif name == "--seats":
        options.least_seats, options.most_seats = parse_seats(value)
    else:
        options.offline = _path(value)


def _words(text: str) -> list[str]:
    """A command line taken apart as a shell would quote it; none runs it."""
    import shlex  # noqa: PLC0415 - only who asks for it pays for it

    words = shlex.split(text)
    if not words:
        raise ValueError("names no command")
    return words


def _add_label(labels: dict[str, str], text: str) -> None:
    name, mark, value = text.partition("=")
    if not mark or not 0 < len(name) <= 64 or not is_plain_text(text):
        raise ValueError(f"{text!r} is not a label such as team=checkout")
    if len(value) > MAX_LABEL_TEXT:
        raise ValueError(f"a label's value has at most {MAX_LABEL_TEXT} characters")
    labels[name] = value


def _plain(text: str, what: str) -> str:
    if not 0 < len(text) <= 128 or not is_plain_text(text):
        raise ValueError(f"{what} has 1 to 128 characters, none of them control characters")
    return text


def _path(text: str) -> str:
    if not text:
        raise ValueError("which file?")
    return text


def _number(text: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > most:
        raise ValueError(f"{text!r} is not a number from 0 to {most}")
    return int(text)


def _complain(text: str) -> NoReturn:
    raise UsageError(f"{text}\ntry: lessor run --help")
