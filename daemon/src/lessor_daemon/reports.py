"""The metrics of several processes as one.

Counters and histograms add up. So do gauges of what each process has of its own, such as
connections; of the others the highest counts. The gauges of licenses are the same from every
process and come from the one that is asked, so they are in no report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import CollectorRegistry, Metric, generate_latest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

SUMMED_GAUGES = frozenset(
    {
        "lessor_connections",
        "process_virtual_memory_bytes",
        "process_resident_memory_bytes",
        "process_open_fds",
    }
)
_COUNTED = ("counter", "histogram")


class Family(NamedTuple):
    """One metric: its samples by name and sorted labels."""

    name: str
    documentation: str
    type: str
    samples: dict[tuple[str, tuple[tuple[str, str], ...]], float]


Report = list[Family]


def report_of(registry: CollectorRegistry, without: Collection[str] = ()) -> Report:
    """What ``registry`` holds, in a form that can be sent."""
    return [
        Family(
            metric.name,
            metric.documentation,
            metric.type,
            {(one.name, tuple(sorted(one.labels.items()))): one.value for one in metric.samples},
        )
        for metric in registry.collect()
        if metric.name not in without
    ]


def merge(reports: Iterable[Report]) -> Report:
    """One report from several."""
    merged: dict[str, Family] = {}
    for report in reports:
        for family in report:
            known = merged.get(family.name)
            if known is None:
                merged[family.name] = family._replace(samples=dict(family.samples))
                continue
            for key, value in family.samples.items():
                before = known.samples.get(key)
                known.samples[key] = (
                    value if before is None else _together(family, key[0], before, value)
                )
    return list(merged.values())


def counted(report: Report) -> Report:
    """What stays true when its process has ended: what it has counted."""
    return [family for family in report if family.type in _COUNTED]


def exposition(report: Report) -> bytes:
    """Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Shown(report))
    return generate_latest(registry)


def _together(family: Family, sample: str, one: float, other: float) -> float:
    if sample.endswith("_created") or family.name == "process_start_time_seconds":
        return min(one, other)
    if family.type in _COUNTED or family.name in SUMMED_GAUGES:
        return one + other
    return max(one, other)


class _Shown:
    """A collector of what was counted elsewhere."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def collect(self) -> Iterator[Metric]:
        for family in self._report:
            metric = Metric(family.name, family.documentation, family.type)
            for (name, labels), value in family.samples.items():
                metric.add_sample(name, dict(labels), value)
            yield metric
