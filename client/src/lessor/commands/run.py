"""``lessor run``: from the arguments to two processes, the agent and its leash."""

from __future__ import annotations

import gc
import os
import signal
import time

from lessor_protocol.lease_id import new_lease_id

from lessor import config, exits, streams
from lessor.agent import linux, wire
from lessor.agent.cgroup import Cgroup
from lessor.agent.launch import Unstartable, find_command, let_go_of_streams
from lessor.agent.leash import Leash
from lessor.agent.narrator import Events, Narrator
from lessor.agent.options import HELP, parse
from lessor.agent.signals import FORWARDED, Inbox, Inherited, ignore
from lessor.agent.terminal import Terminal
from lessor.errors import LessorError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lessor.agent.options import Options
    from lessor.config import ClientConfig
    from lessor.offline.serving import OfflineServer


def main(argv: list[str]) -> int:
    """Run a command while it holds a seat; the exit code is described in ``exits``."""
    options = parse(argv)
    if options.help:
        streams.write(HELP)
        return exits.OK
    # At once: whatever is opened next could get a number that the user named and never opened.
    events_fd = _own_events_fd(options.events_fd)
    narrator = Narrator(options.level)
    try:
        path = find_command(options.command[0], os.environ)
    except Unstartable as trouble:
        narrator.fail(f"{options.command[0] or repr('')}: {trouble}")
        return exits.NOT_FOUND if trouble.is_missing else exits.NOT_EXECUTABLE
    # Before the configuration: inside a run there is no key, and that would be the complaint.
    offline = _open_offline(options)
    refuse_nesting(options, os.environ)
    if offline is None:
        settings = config.load(dict(os.environ))
        for warning in settings.warnings:
            narrator.say(warning)
    else:
        settings = config.ClientConfig((), "", environ=dict(os.environ))
    if not linux.IS_LINUX:
        narrator.say(linux.WEAKER_ELSEWHERE)
    try:
        return _part(options, path, settings, narrator, events_fd, offline=offline)
    except OSError as error:  # no more processes or descriptors to be had
        raise LessorError(f"lessor cannot start: {error}") from None


def refuse_nesting(options: Options, environ: Mapping[str, str]) -> None:
    """Raises ``UsageError`` inside a run on the same license: it might wait for its own seat."""
    if options.nested or not environ.get("LESSOR_LEASE_ID"):
        return
    around = environ.get("LESSOR_LICENSE", "")
    if (options.license or around) == around:
        raise UsageError(
            f"already inside a run on {around}, which has a seat; --nested takes another one"
        )


def _open_offline(options: Options) -> OfflineServer | None:
    """What plays the server with ``--offline``; its license becomes the one that is wanted."""
    if not options.offline:
        return None
    from lessor.offline.serving import open_for  # noqa: PLC0415 - few runs are offline

    server = open_for(options, os.environ)
    options.license = server.license_name
    return server


def _part(
    options: Options,
    path: str,
    settings: ClientConfig,
    narrator: Narrator,
    events_fd: int | None,
    *,
    offline: OfflineServer | None,
) -> int:
    """Fork the leash and become the agent."""
    inherited = Inherited()
    terminal = Terminal.find()
    lease_id = new_lease_id()
    cgroup = Cgroup.of_run(lease_id)
    linux.adopt_orphans()
    # Collecting would touch, and so copy, every page that the two processes share.
    gc.disable()
    gc.freeze()
    inbox = Inbox()
    agent_end, leash_end = wire.pair()
    # A signal between here and the leash's own settings must not end it half-made.
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    leash_pid = os.fork()
    if leash_pid == 0:
        os.setpgid(0, 0)  # so that a SIGKILL to the agent's group leaves the leash to clean up
        inbox.close()
        agent_end.close()
        if events_fd is not None:
            os.close(events_fd)
        leash = Leash(
            line=leash_end,
            path=path,
            options=options,
            config=settings,
            lease_id=lease_id,
            inherited=inherited,
            terminal=terminal,
            cgroup=cgroup,
            narrator=narrator,
        )
        leash.run()
    leash_end.close()
    inbox.accept(signum for signum in FORWARDED if signum not in inherited.ignored)
    ignore((signal.SIGTTOU,))
    let_go_of_streams(keep=frozenset(() if events_fd is None else (events_fd,)))

    # Not before the fork: the leash has no use for the network.
    from lessor.agent.agent import Agent  # noqa: PLC0415 - see above

    agent = Agent(
        options=options,
        license=options.license or settings.license,
        config=settings,
        lease_id=lease_id,
        leash_pid=leash_pid,
        line=agent_end,
        inbox=inbox,
        terminal=terminal,
        cgroup=cgroup,
        narrator=narrator,
        events=Events(events_fd, time.time),
        offline=offline,
    )
    return agent.run()


def _own_events_fd(number: int | None) -> int | None:
    """A descriptor of our own for the events; the user's is kept from the command."""
    if number is None:
        return None
    if number < 2:
        raise UsageError("--events-fd: standard input and output belong to the command")
    try:
        own = os.dup(number)
    except OSError:
        raise UsageError(f"--events-fd: descriptor {number} is not open") from None
    if number > 2:
        os.set_inheritable(number, False)
        os.close(number)
    return own
