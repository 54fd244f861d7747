"""The metrics of several processes as one."""

from __future__ import annotations

from lessor_daemon.metrics import Metrics
from lessor_daemon.reports import counted, exposition, merge


def lines_of(*metrics: Metrics) -> list[str]:
    return exposition(merge([one.report() for one in metrics])).decode().splitlines()


def value(lines: list[str], sample: str) -> float:
    (line,) = [one for one in lines if one.startswith(sample + " ")]
    return float(line.rpartition(" ")[2])


def test_counters_and_histograms_add_up() -> None:
    one, other = Metrics(), Metrics()
    one.denied_total.labels("draining").inc(2)
    other.denied_total.labels("draining").inc(3)
    other.denied_total.labels("forbidden").inc()
    one.request_seconds.labels("renew").observe(0.002)
    other.request_seconds.labels("renew").observe(0.2)
    lines = lines_of(one, other)
    assert value(lines, 'lessor_denied_total{code="draining"}') == 5
    assert value(lines, 'lessor_denied_total{code="forbidden"}') == 1
    assert value(lines, 'lessor_request_seconds_count{op="renew"}') == 2
    assert value(lines, 'lessor_request_seconds_bucket{le="0.0025",op="renew"}') == 1
    assert value(lines, 'lessor_request_seconds_bucket{le="+Inf",op="renew"}') == 2


def test_connections_add_up_and_of_other_gauges_the_highest_counts() -> None:
    one, other = Metrics(), Metrics()
    one.connections.set(3)
    other.connections.set(4)
    one.epoch.set(7)
    other.epoch.set(6)
    one.loop_lag_seconds.set(0.5)
    lines = lines_of(one, other)
    assert value(lines, "lessor_connections") == 7
    assert value(lines, "lessor_epoch") == 7
    assert value(lines, "lessor_loop_lag_seconds") == 0.5


def test_the_gauges_of_licenses_come_from_the_one_that_is_asked() -> None:
    asked, other = Metrics(), Metrics()
    sample = 'lessor_seats{license="kre",org="acme"}'
    other.seats.labels("acme", "kre").set(4)
    assert sample not in asked.exposition(other.report()).decode()
    asked.seats.labels("acme", "kre").set(5)
    assert value(asked.exposition(other.report()).decode().splitlines(), sample) == 5


def test_alone_and_together_a_process_shows_the_same_metrics() -> None:
    def described(text: bytes) -> set[str]:
        return {line for line in text.decode().splitlines() if line.startswith("# TYPE")}

    one = Metrics()
    assert described(one.exposition([])) == described(one.exposition(Metrics().report()))


def test_of_a_dead_process_only_what_it_counted_is_kept() -> None:
    dead = Metrics()
    dead.connections.set(9)
    dead.denied_total.labels("draining").inc()
    lines = exposition(merge([counted(dead.report()), Metrics().report()])).decode().splitlines()
    assert value(lines, "lessor_connections") == 0
    assert value(lines, 'lessor_denied_total{code="draining"}') == 1
