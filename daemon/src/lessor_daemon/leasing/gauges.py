"""All licenses in numbers, as metrics show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lessor_daemon.store import directory, leases

if TYPE_CHECKING:
    from lessor_daemon.store.store import Store


@dataclass(frozen=True, slots=True)
class LicenseGauges:
    """A license in numbers, for metrics."""

    org: str
    license: str
    seats: int
    leases: int
    offline_seats: int
    machines: int
    machine_quota: int | None
    queue_length: int
    expires_wall_seconds: int = 0


async def license_gauges(store: Store) -> list[LicenseGauges]:
    """All licenses of all organizations. Raises ``StoreUnavailable``."""
    found: list[LicenseGauges] = []
    for org in await directory.organizations(store):
        names = await leases.license_names(store, org)
        found.extend(
            LicenseGauges(
                org=org,
                license=use.license,
                seats=use.seats,
                leases=use.leases,
                offline_seats=use.offline_seats,
                machines=use.machines,
                machine_quota=use.machine_quota,
                queue_length=use.queue_length,
                expires_wall_seconds=use.expires_wall_seconds,
            )
            for use in await leases.license_use(store, org, names)
        )
    return found
