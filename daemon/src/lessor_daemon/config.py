"""The daemon's configuration: one table of options. Order: flag, variable, file.

Every option ``--some-thing`` is also ``LESSOR_SOME_THING`` and ``some_thing`` in the TOML file
that ``--config`` names. A store URL may hold a password, so it can be read from a file as well:
``LESSOR_STORE_FILE``, or ``store_file`` in TOML. Errors name the setting and its place.

Tests may go below the shortest ttl: with ``LESSOR_TEST=1``, ``LESSOR_TEST_MIN_TTL`` lowers it,
``LESSOR_TEST_MARGIN`` sets the fixed part of the server's margin and ``LESSOR_TEST_FAILOVER`` how
long a stale master may answer (durations). Without ``LESSOR_TEST=1`` they are refused: a short
margin breaks the promise on a real network.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

from lessor_protocol import timing
from lessor_protocol.duration import format_duration

from . import settings, store_url, toml_file
from .errors import ConfigurationError
from .store_url import EMBEDDED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .settings import Address


@dataclass(frozen=True)
class Config:
    """What ``lessor serve`` was told, checked. Durations are in milliseconds."""

    listen: Address
    ops_listen: Address | None
    store: str
    store_durable: bool
    data_dir: Path
    bootstrap: Path | None
    secret_file: Path
    max_ttl_ms: int
    new_store: bool
    workers: int
    drain_ms: int
    max_connections: int | None
    sessions_kept_days: int
    audit_kept_days: int
    log_format: str
    log_level: str
    places: Mapping[str, str]
    """Where each setting stands, for errors that show only when it is used."""
    min_ttl_ms: int = timing.MIN_TTL_MS
    margin_ms: int = timing.MARGIN_MS
    failover_ms: int = timing.FAILOVER_MS

    @property
    def is_embedded(self) -> bool:
        """Whether the daemon runs a store of its own."""
        return self.store == EMBEDDED


T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Option(Generic[T_co]):
    """One row of the table. ``read`` raises ``ValueError`` with a text for the operator.

    Without a ``metavar`` the flag takes no value. A default of None leaves the setting out.
    """

    name: str
    read: Callable[[object], T_co]
    default: object
    metavar: str | None
    help: str
    is_secret: bool = False

    @property
    def flag(self) -> str:
        """``--some-thing``."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """``LESSOR_SOME_THING``."""
        return "LESSOR_" + self.name.upper()


LISTEN = Option(
    "listen", settings.address, "127.0.0.1:7420", "HOST:PORT", "where to serve; port 0 is any port"
)
OPS_LISTEN = Option(
    "ops_listen", settings.address, None, "HOST:PORT", "serve /metrics and the like only here"
)
STORE = Option("store", store_url.read, EMBEDDED, "URL", "a Redis URL", is_secret=True)
STORE_DURABLE = Option(
    "store_durable", settings.flag, False, None, "the store is one server with appendfsync always"
)
DATA_DIR = Option("data_dir", settings.path, None, "DIR", "keys, secrets, the embedded store")
BOOTSTRAP = Option(
    "bootstrap", settings.path, None, "FILE", "organizations, licenses and keys to have (TOML)"
)
SECRET_FILE = Option(
    "secret_file", settings.path, None, "FILE", "the secret that all daemons of a store share"
)
MAX_TTL = Option("max_ttl", settings.max_ttl_ms, "60s", "DURATION", "longest ttl of a license")
NEW_STORE = Option(
    "new_store", settings.flag, False, None, "the external store has never held leases"
)
WORKERS = Option("workers", settings.workers, "1", "N", "processes that serve")
DRAIN = Option(
    "drain", settings.duration_ms, "10s", "DURATION", "longest time to finish calls at the end"
)
MAX_CONNECTIONS = Option(
    "max_connections",
    settings.connections,
    None,
    "N",
    "of one worker (default: what the open-file limit allows)",
)
SESSIONS_KEPT = Option(
    "sessions_kept", settings.days, "90", "DAYS", "how long past sessions are kept"
)
AUDIT_KEPT = Option("audit_kept", settings.days, "400", "DAYS", "how long the audit is kept")
LOG_FORMAT = Option("log_format", settings.log_format, "console", "console|json", "of each line")
LOG_LEVEL = Option("log_level", settings.log_level, "info", "debug|info|warning", "least to log")

OPTIONS: tuple[Option[object], ...] = (
    LISTEN,
    OPS_LISTEN,
    STORE,
    STORE_DURABLE,
    DATA_DIR,
    BOOTSTRAP,
    SECRET_FILE,
    MAX_TTL,
    NEW_STORE,
    WORKERS,
    DRAIN,
    MAX_CONNECTIONS,
    SESSIONS_KEPT,
    AUDIT_KEPT,
    LOG_FORMAT,
    LOG_LEVEL,
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigurationError("command line", message)


def load(argv: Sequence[str], environ: Mapping[str, str]) -> Config:
    """The configuration from ``argv`` (without the program's name), ``environ`` and the file.

    Raises ``ConfigurationError``; ``SystemExit`` (0) after ``--help``.
    """
    flags = vars(_parser().parse_args(list(argv)))
    sources = _Sources(flags, environ)
    data_dir = sources.optional(DATA_DIR) or settings.default_data_dir(environ)
    # The embedded store runs in a directory of its own, where a relative path leads elsewhere.
    data_dir = data_dir.absolute()
    max_ttl_ms = sources.value(MAX_TTL)
    test_settings = _test_settings(environ)
    min_ttl_ms = test_settings.get("min_ttl_ms", timing.MIN_TTL_MS)
    if max_ttl_ms < min_ttl_ms:
        why = f"must be at least {format_duration(min_ttl_ms)}"
        raise ConfigurationError(sources.place(MAX_TTL), why)
    store = sources.value(STORE)
    store_durable = sources.value(STORE_DURABLE)
    if store_durable and store != EMBEDDED and store_url.parse(store).kind != store_url.SINGLE:
        why = "is not true of a store with replicas: one that takes over lacks the last writes"
        raise ConfigurationError(sources.place(STORE_DURABLE), why)
    return Config(
        listen=sources.value(LISTEN),
        ops_listen=sources.optional(OPS_LISTEN),
        store=store,
        store_durable=store_durable,
        data_dir=data_dir,
        bootstrap=sources.optional(BOOTSTRAP),
        secret_file=sources.optional(SECRET_FILE) or data_dir / "secret",
        max_ttl_ms=max_ttl_ms,
        new_store=sources.value(NEW_STORE),
        workers=sources.value(WORKERS),
        drain_ms=sources.value(DRAIN),
        max_connections=sources.optional(MAX_CONNECTIONS),
        sessions_kept_days=sources.value(SESSIONS_KEPT),
        audit_kept_days=sources.value(AUDIT_KEPT),
        log_format=sources.value(LOG_FORMAT),
        log_level=sources.value(LOG_LEVEL),
        places={option.name: sources.place(option) for option in OPTIONS},
        **test_settings,
    )


def wanted_log_format(argv: Sequence[str], environ: Mapping[str, str]) -> str:
    """The log format that was asked for, also when the rest of the configuration is wrong."""
    wanted = ""
    for i, argument in enumerate(argv):
        name, equals, value = argument.partition("=")
        if name == "--log-format":
            wanted = value if equals else "".join(argv[i + 1 : i + 2])
    wanted = wanted or environ.get("LESSOR_LOG_FORMAT", "")
    if not wanted:
        try:
            file = _file_of(argv, environ)
            wanted = str(_read(file).get("log_format", "")) if file else ""
        except ConfigurationError:
            pass  # the load that follows says it in full
    return "json" if wanted == "json" else "console"


def _file_of(argv: Sequence[str], environ: Mapping[str, str]) -> Path | None:
    parser = _Parser(add_help=False)
    parser.add_argument("--config")
    known, _ = parser.parse_known_args(list(argv))
    named = known.config or environ.get("LESSOR_CONFIG")
    return Path(named) if named else None


def _read(file: Path) -> dict[str, object]:
    """Settings by their names in Python; the file may have hyphens, as the flags do."""
    return {name.replace("-", "_"): value for name, value in toml_file.read(file).items()}


class _Sources:
    """Looks a setting up in all places, and says in errors which place it was."""

    def __init__(self, flags: Mapping[str, object], environ: Mapping[str, str]) -> None:
        self._flags = flags
        self._environ = environ
        named = flags["config"] or environ.get("LESSOR_CONFIG")
        self._file = Path(str(named)) if named else None
        self._document = _read(self._file) if self._file else {}
        self._refuse_unknown()

    def optional(self, option: Option[T_co]) -> T_co | None:
        """The setting, or None where it was left out."""
        place, raw = self._find(option)
        if raw is None:
            return None
        try:
            return option.read(raw)
        except ValueError as error:
            raise ConfigurationError(place, str(error)) from None

    def value(self, option: Option[T_co]) -> T_co:
        """A setting that has a default."""
        found = self.optional(option)
        if found is None:
            raise ConfigurationError(option.flag, "is required")
        return found

    def place(self, option: Option[object]) -> str:
        """Where the setting stands."""
        return self._find(option)[0]

    def _find(self, option: Option[object]) -> tuple[str, object]:
        """The first place that has the setting. An empty variable counts as none."""
        if self._flags.get(option.name) is not None:
            return option.flag, self._flags[option.name]
        if self._environ.get(option.variable):
            return option.variable, self._environ[option.variable]
        if option.is_secret and self._environ.get(option.variable + "_FILE"):
            place = option.variable + "_FILE"
            return place, _read_secret(place, Path(self._environ[place]))
        if option.name in self._document:
            return f"{self._file}: {option.name}", self._in_file(option, option.name)
        if option.is_secret and option.name + "_file" in self._document:
            place = f"{self._file}: {option.name}_file"
            path = self._beside_file(settings.path(self._document[option.name + "_file"]))
            return place, _read_secret(place, path)
        return option.flag, option.default

    def _in_file(self, option: Option[object], name: str) -> object:
        value = self._document[name]
        if option.read is settings.path and isinstance(value, str) and value:
            return str(self._beside_file(Path(value)))
        return value

    def _beside_file(self, path: Path) -> Path:
        """Relative paths in a file are relative to that file."""
        return path if self._file is None else self._file.parent / path

    def _refuse_unknown(self) -> None:
        known = {option.name for option in OPTIONS}
        known |= {option.name + "_file" for option in OPTIONS if option.is_secret}
        for name in self._document:
            if name not in known:
                why = f"is not a setting (known: {', '.join(sorted(known))})"
                raise ConfigurationError(f"{self._file}: {name}", why)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="lessor serve",
        description="Serve floating licences. Every option is also a variable LESSOR_… and a "
        "setting in the file that --config names; the flag counts first, the file last.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help="a TOML file with these settings")
    for option in OPTIONS:
        text = option.help
        if option.default not in (None, False):
            text += f" (default: {option.default})"
        if option.metavar is None:
            parser.add_argument(option.flag, action="store_true", default=None, help=text)
        else:
            parser.add_argument(option.flag, metavar=option.metavar, help=text)
    return parser


def _read_secret(place: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(place, f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(place, f"{path} is not UTF-8 text") from None


def _test_settings(environ: Mapping[str, str]) -> dict[str, int]:
    found = {}
    for variable, name in (
        ("LESSOR_TEST_MIN_TTL", "min_ttl_ms"),
        ("LESSOR_TEST_MARGIN", "margin_ms"),
        ("LESSOR_TEST_FAILOVER", "failover_ms"),
    ):
        raw = environ.get(variable)
        if not raw:
            continue
        if environ.get("LESSOR_TEST") != "1":
            raise ConfigurationError(variable, "is for tests, and is refused without LESSOR_TEST=1")
        try:
            found[name] = settings.duration_ms(raw)
        except ValueError as error:
            raise ConfigurationError(variable, str(error)) from None
    return found
