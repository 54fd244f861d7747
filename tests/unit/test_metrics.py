"""The metrics' names and the gauges of licenses."""

from __future__ import annotations

import re

from lessor_daemon.leasing.gauges import LicenseGauges
from lessor_daemon.metrics import Metrics

NAMES = {
    "lessor_seats",
    "lessor_leases",
    "lessor_offline_seats",
    "lessor_machines",
    "lessor_machine_quota",
    "lessor_queue_length",
    "lessor_acquire_total",
    "lessor_denied_total",
    "lessor_lease_ended_total",
    "lessor_queue_wait_seconds",
    "lessor_request_seconds",
    "lessor_store_seconds",
    "lessor_batch_size",
    "lessor_connections",
    "lessor_epoch",
    "lessor_recovering",
    "lessor_loop_lag_seconds",
    "lessor_build_info",
}


def kre(seats: int, machine_quota: int | None = None) -> LicenseGauges:
    return LicenseGauges(
        org="acme",
        license="kre",
        seats=seats,
        leases=1,
        offline_seats=0,
        machines=1,
        machine_quota=machine_quota,
        queue_length=0,
    )


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_every_promised_metric_is_exposed() -> None:
    text = Metrics().exposition([]).decode()
    described = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    assert described >= NAMES


def test_two_daemons_in_one_process_do_not_share_metrics() -> None:
    one, other = Metrics(), Metrics()
    one.denied_total.labels("draining").inc()
    assert sample(other, "lessor_denied_total", code="draining") is None


def test_an_unlimited_machine_quota_is_infinite() -> None:
    metrics = Metrics()
    metrics.show_licenses([kre(5)])
    quota = sample(metrics, "lessor_machine_quota", org="acme", license="kre")
    assert quota == float("inf")


def test_a_license_that_is_gone_shows_no_old_value() -> None:
    metrics = Metrics()
    metrics.show_licenses([kre(5, 5)])
    assert sample(metrics, "lessor_seats", org="acme", license="kre") == 5
    metrics.show_licenses([])
    assert sample(metrics, "lessor_seats", org="acme", license="kre") is None
