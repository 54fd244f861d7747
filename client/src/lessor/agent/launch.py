"""Find the command, and execute it in a child with nothing of ours left in it."""

from __future__ import annotations

import errno
import os

from . import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .signals import Inherited
    from .terminal import Terminal

KEPT_FROM_COMMAND = ("LESSOR_API_KEY", "LESSOR_API_KEY_FILE")

_DEFAULT_PATH = "/bin:/usr/bin"
_STANDARD_FDS = 3
_LONGEST_FIRST_LINE = 256
"""The kernel reads no more of it either."""


class Unstartable(Exception):
    """The command cannot be executed; ``errno`` says why, ``why`` says it better."""

    def __init__(self, number: int, why: str = "") -> None:
        super().__init__(why or os.strerror(number))
        self.errno = number

    @property
    def is_missing(self) -> bool:
        """Whether there is no such command, rather than one that may not be executed."""
        return self.errno in (errno.ENOENT, errno.ENOTDIR)

    @property
    def is_shortage(self) -> bool:
        """Whether the machine has no process or memory to spare: the command may be well."""
        return self.errno in (errno.EAGAIN, errno.ENOMEM)


def find_command(name: str, environ: Mapping[str, str]) -> str:
    """The file to execute. Raises ``Unstartable``, before any seat is asked for."""
    if not name:
        raise Unstartable(errno.ENOENT, "there is no command without a name")
    if "/" in name:
        _check(name)
        return name
    trouble = Unstartable(errno.ENOENT)
    for directory in environ.get("PATH", _DEFAULT_PATH).split(":"):
        path = f"{directory or '.'}/{name}"
        try:
            _check(path)
        except Unstartable as error:
            if not error.is_missing:
                trouble = error
        else:
            return path
    raise trouble


def _check(path: str) -> None:
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - pathlib costs 3 ms at every start
    except (OSError, ValueError) as error:
        number = error.errno if isinstance(error, OSError) else None
        raise Unstartable(number or errno.ENOENT) from None
    is_directory = mode & 0o170000 == 0o040000
    if is_directory or not os.access(path, os.X_OK):
        raise Unstartable(errno.EACCES)


def command_environment(environ: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    """The command's environment: the user's, the lease's facts, and never the key."""
    kept = {name: value for name, value in environ.items() if name not in KEPT_FROM_COMMAND}
    kept.update(added)
    return kept


def launch(
    *,
    path: str,
    argv: list[str],
    environ: Mapping[str, str],
    inherited: Inherited,
    terminal: Terminal,
) -> int:
    """Start the command in a process group of its own and return its pid.

    Returns when it has been executed; its group exists by then. Raises ``Unstartable``. The caller
    must be deaf to SIGTTOU, or handing over the terminal would stop it.
    """
    parent_pid = os.getpid()
    reading, writing = os.pipe()  # closed by exec, as every descriptor that Python makes
    try:
        pid = os.fork()
    except OSError as error:
        os.close(reading)
        os.close(writing)
        raise Unstartable(error.errno or errno.EAGAIN) from None
    if pid == 0:
        number = errno.ENOEXEC
        try:
            os.setpgid(0, 0)
            if terminal.hand_over:
                terminal.give(os.getpid())
            inherited.restore()
            linux.die_with_parent(parent_pid)
            os.execve(path, argv, environ)  # noqa: S606 - no shell is the point
        except OSError as error:
            number = error.errno or number
        finally:
            os.write(writing, str(number).encode())
            os._exit(127)
    os.close(writing)
    report = os.read(reading, 16)
    os.close(reading)
    if report:
        # Before its group is gone, which would leave the terminal to nobody.
        terminal.take_back(pid)
        os.waitpid(pid, 0)
        number = int(report)
        raise Unstartable(number, _what_it_lacks(path) if number == errno.ENOENT else "")
    return pid


def _what_it_lacks(path: str) -> str:
    """What is missing where the kernel says so of a file that is there; else empty."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs 3 ms at every start
            line = file.readline(_LONGEST_FIRST_LINE)
    except OSError:
        return ""
    if not line.startswith(b"#!"):
        return "the program loader that it names is missing"
    # Not stripped at the end: a carriage return there is the commonest reason.
    words = line[2:].rstrip(b"\n").lstrip().split(b" ")
    return f"its interpreter {words[0].decode(errors='replace')!r} is missing"


def let_go_of_streams(*, keep: frozenset[int] = frozenset()) -> None:
    """Give up standard input and output, and whatever else the user had opened for the command.

    They are the command's alone: a pipe of which we held an end would not close when the command
    closes its own. Ours are closed by exec and told apart by that.
    """
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1):
        os.dup2(null, fd)
    os.close(null)
    try:
        open_fds = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - as above
    except OSError:
        return
    for fd in open_fds:
        try:
            if fd >= _STANDARD_FDS and fd not in keep and os.get_inheritable(fd):
                os.close(fd)
        except OSError:
            continue  # the one that listed the directory
