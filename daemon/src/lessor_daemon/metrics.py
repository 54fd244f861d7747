"""What Prometheus reads. One ``Metrics`` per daemon, passed to whoever counts; no globals.

Gauges of a license are the same from every daemon of a store: use ``max by (org, license)``.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from lessor_protocol import PROTOCOL_VERSION
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

from . import __version__, reports

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from .leasing.gauges import LicenseGauges
    from .reports import Report

_LICENSE = ("org", "license")

# A call is one round trip to Redis and rarely more than a few milliseconds.
_CALL_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STORE_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 5)
# People and jobs wait for a seat between a moment and some hours.
_WAIT_SECONDS = (0.1, 1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)
_BATCH_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500)

LAG_EVERY_SECONDS = 0.25
LAG_WINDOW = 40
"""Samples: the gauge shows the worst of the last ten seconds, so that a scrape sees a spike."""


class Metrics:
    """Every metric of the daemon, by the name of what it measures."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.ask_others: Callable[[], Awaitable[Report]] = _nobody
        """What the other processes of this daemon have counted."""
        self.seats = Gauge("lessor_seats", "Seats of the license", _LICENSE, registry=registry)
        self.leases = Gauge("lessor_leases", "Seats that leases hold", _LICENSE, registry=registry)
        self.offline_seats = Gauge(
            "lessor_offline_seats", "Seats that offline licenses hold", _LICENSE, registry=registry
        )
        self.machines = Gauge("lessor_machines", "Registered machines", _LICENSE, registry=registry)
        self.machine_quota = Gauge(
            "lessor_machine_quota",
            "Most registered machines; +Inf when unlimited",
            _LICENSE,
            registry=registry,
        )
        self.queue_length = Gauge(
            "lessor_queue_length", "Runs that wait for a seat", _LICENSE, registry=registry
        )
        self.license_expires = Gauge(
            "lessor_license_expires_timestamp_seconds",
            "When the license expires, for those that do",
            _LICENSE,
            registry=registry,
        )
        self.acquire_total = Counter(
            "lessor_acquire", "Calls to acquire, by outcome", ["result"], registry=registry
        )
        self.denied_total = Counter(
            "lessor_denied", "Refused calls to acquire, by error code", ["code"], registry=registry
        )
        self.auth_failures_total = Counter(
            "lessor_auth_failures", "API keys that did not hold, by why", ["why"], registry=registry
        )
        self.changes_reasserted_total = Counter(
            "lessor_changes_reasserted",
            "Changes of administration that the store forgot and that hold again",
            registry=registry,
        )
        self.lease_ended_total = Counter(
            "lessor_lease_ended", "Ended leases, by reason", ["reason"], registry=registry
        )
        self.queue_wait_seconds = Histogram(
            "lessor_queue_wait_seconds",
            "From the first call to the grant, for runs that had to wait",
            buckets=_WAIT_SECONDS,
            registry=registry,
        )
        self.request_seconds = Histogram(
            "lessor_request_seconds",
            "From the end of the request's head to its answer",
            ["op"],
            buckets=_CALL_SECONDS,
            registry=registry,
        )
        self._observe_request: dict[str, Callable[[float], None]] = {}
        self.store_seconds = Histogram(
            "lessor_store_seconds",
            "One call of the store",
            ["script"],
            buckets=_STORE_SECONDS,
            registry=registry,
        )
        self.batch_size = Histogram(
            "lessor_batch_size",
            "Leases in one call of the store",
            ["script"],
            buckets=_BATCH_SIZES,
            registry=registry,
        )
        self.connections = Gauge("lessor_connections", "Open connections", registry=registry)
        self.epoch = Gauge("lessor_epoch", "The highest epoch seen", registry=registry)
        self.recovering = Gauge(
            "lessor_recovering", "1 while no lease is granted after a loss", registry=registry
        )
        self.loop_lag_seconds = Gauge(
            "lessor_loop_lag_seconds",
            "Worst delay of the event loop in the last ten seconds",
            registry=registry,
        )
        build = Gauge("lessor_build_info", "Always 1", ["version", "protocol"], registry=registry)
        build.labels(__version__, str(PROTOCOL_VERSION)).set(1)
        ProcessCollector(registry=registry)

    def acquire_refused(self, code: str) -> None:
        """Count one that was answered with a problem; ``code`` is one of the protocol's."""
        self.denied_total.labels(code).inc()
        self.acquire_total.labels("denied").inc()

    def observe_request(self, operation: str, seconds: float) -> None:
        """Count one call. Looking a label up costs more than counting, so it is done once."""
        observe = self._observe_request.get(operation)
        if observe is None:
            observe = self.request_seconds.labels(operation).observe
            self._observe_request[operation] = observe
        observe(seconds)

    def show_licenses(self, gauges: Iterable[LicenseGauges]) -> None:
        """Replace the gauges of all licenses; those not named any more disappear."""
        self.hide_licenses()
        for one in gauges:
            labels = (one.org, one.license)
            self.seats.labels(*labels).set(one.seats)
            self.leases.labels(*labels).set(one.leases)
            self.offline_seats.labels(*labels).set(one.offline_seats)
            self.machines.labels(*labels).set(one.machines)
            quota = math.inf if one.machine_quota is None else one.machine_quota
            self.machine_quota.labels(*labels).set(quota)
            self.queue_length.labels(*labels).set(one.queue_length)
            if one.expires_wall_seconds:
                self.license_expires.labels(*labels).set(one.expires_wall_seconds)

    def hide_licenses(self) -> None:
        """Show no license: a missing value is honest where an old one would mislead."""
        for gauge in self._of_licenses():
            gauge.clear()

    def _of_licenses(self) -> tuple[Gauge, ...]:
        return (
            self.seats,
            self.leases,
            self.offline_seats,
            self.machines,
            self.machine_quota,
            self.queue_length,
            self.license_expires,
        )

    async def watch_loop(self) -> None:
        """Measure how late the event loop serves a timer, for as long as the daemon runs."""
        loop = asyncio.get_running_loop()
        worst: list[float] = []
        while True:
            due = loop.time() + LAG_EVERY_SECONDS
            await asyncio.sleep(LAG_EVERY_SECONDS)
            worst = [*worst[1 - LAG_WINDOW :], max(0.0, loop.time() - due)]
            self.loop_lag_seconds.set(max(worst))

    def report(self) -> Report:
        """What this process adds to the metrics of a daemon of several."""
        without = [one.name for gauge in self._of_licenses() for one in gauge.describe()]
        return reports.report_of(self.registry, without)

    def exposition(self, others: Report) -> bytes:
        """All metrics in Prometheus' text format, with those of other processes of this daemon."""
        if not others:
            return generate_latest(self.registry)
        own = reports.report_of(self.registry)
        return reports.exposition(reports.merge([own, others]))


async def _nobody() -> Report:
    return []
