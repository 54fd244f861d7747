"""Settings of the servers that the promise, or its recovery in time, depends on.

Looked at once, at the start. What is not as needed is said by name; only a false
``--store-durable`` ends the daemon, since it would break the promise without a sign.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import structlog
from redis.exceptions import RedisError, ResponseError

from lessor_daemon.errors import ConfigurationError

from .errors import StoreUnavailable
from .topology.cluster import ClusterTopology
from .topology.sentinel import DOWN_AFTER, FAILOVER_TIMEOUT, SentinelTopology

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis.asyncio import Redis

    from lessor_daemon.config import Config

    from .store import Store

ASKED = ("maxmemory-policy", "appendonly", "appendfsync", "min-replicas-to-write", "cluster-*")
APPENDFSYNC = "appendfsync"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Finding:
    """A setting of ``server`` ("" for the only one) that is not as ``needed``, and what of it.

    ``value`` is empty where it could not be read.
    """

    server: str
    setting: str
    value: str
    needed: str
    why: str


async def check(store: Store, *, durable: bool, failover_ms: int) -> list[Finding]:
    """All findings on all servers that answer. Raises ``StoreUnavailable`` when none does."""
    topology = store.topology
    servers = await topology.servers()
    is_replicated = isinstance(topology, (SentinelTopology, ClusterTopology))
    found: list[Finding] = []
    errors: list[str] = []
    for name, client in servers.items():
        try:
            settings = await _read(client)
        except ResponseError as error:
            found.append(_unreadable(name, error))
            continue
        except (RedisError, OSError) as error:
            errors.append(str(error) or type(error).__name__)
            continue
        found += _judge(name, settings, durable=durable, is_replicated=is_replicated)
        if isinstance(topology, ClusterTopology):
            found += _judge_node_timeout(name, settings, failover_ms)
    if len(errors) == len(servers):
        raise StoreUnavailable(errors[0] if errors else "no server of the store is known yet")
    if isinstance(topology, SentinelTopology):
        found += _judge_sentinels(await topology.timeouts_ms(), failover_ms)
    return found


async def tell(store: Store, config: Config) -> None:
    """Log each finding.

    Raises ``ConfigurationError`` when ``--store-durable`` is not true, or ``StoreUnavailable``.
    """
    durable = config.store_durable
    found = await check(store, durable=durable, failover_ms=config.failover_ms)
    for one in found:
        if durable and one.setting == APPENDFSYNC:
            why = f"is not true: {one.setting} is {one.value!r}, not {one.needed!r}"
            raise ConfigurationError(config.places["store_durable"], why)
    for one in found:
        _log.warning("store_setting", **asdict(one))


async def _read(client: Redis) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for pattern in ASKED:
        reply: dict[Any, Any] = await client.config_get(pattern)
        found |= {_text(name): _text(value) for name, value in reply.items()}
    return found


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _unreadable(server: str, error: ResponseError) -> Finding:
    settings = "maxmemory-policy, appendonly, appendfsync"
    return Finding(server, settings, "", "see the manual", f"CONFIG GET was refused: {error}")


def _judge(
    server: str, settings: Mapping[str, str], *, durable: bool, is_replicated: bool
) -> list[Finding]:
    found = []
    policy = settings.get("maxmemory-policy", "")
    if policy != "noeviction":
        why = "eviction takes leases away without a sign"
        found.append(Finding(server, "maxmemory-policy", policy, "noeviction", why))
    log = settings.get("appendonly", "")
    if log != "yes":
        why = "a restart forgets every lease and change since the last snapshot"
        found.append(Finding(server, "appendonly", log, "yes", why))
    sync = settings.get(APPENDFSYNC, "") if log == "yes" else "without appendonly"
    if durable and sync != "always":
        why = "--store-durable says that what was answered is on disk"
        found.append(Finding(server, APPENDFSYNC, sync, "always", why))
    least = settings.get("min-replicas-to-write", "")
    if is_replicated and least == "0":
        why = "a master that is cut off goes on taking writes, which are lost when it comes back"
        found.append(Finding(server, "min-replicas-to-write", least, "1", why))
    return found


def _judge_node_timeout(
    server: str, settings: Mapping[str, str], failover_ms: int
) -> list[Finding]:
    value = settings.get("cluster-node-timeout", "")
    if not value.isdigit() or int(value) <= failover_ms // 4:
        return []
    why = "while one master is replaced, the others are without a majority and do not serve"
    needed = f"at most {failover_ms // 4}"
    return [Finding(server, "cluster-node-timeout", value, needed, why)]


def _judge_sentinels(timeouts_ms: Mapping[str, int], failover_ms: int) -> list[Finding]:
    """A failover takes the one, and twice the other more when the sentinels' votes were split."""
    most = failover_ms // 2
    whys = {
        DOWN_AFTER: "a failover that takes long stops runs whose ttl is short",
        FAILOVER_TIMEOUT: "after a vote without a majority the next is held twice as much later",
    }
    return [
        Finding("sentinels", name, str(value_ms), f"at most {most}", whys[name])
        for name, value_ms in timeouts_ms.items()
        if value_ms > most
    ]
