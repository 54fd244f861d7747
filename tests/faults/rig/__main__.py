"""``python -m faults.rig``: one run of the rig, or the mutants. See ``docs/faults.md``."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from support.store_clock import find_library

from . import mutants, plan, report
from .rig import Load, Rig
from .service import judge


def main() -> int:
    """0 without a violation or a mistake in a log (or with every mutant caught), else 1."""
    options = _parse()
    out: Path = options.out or Path(tempfile.mkdtemp(prefix="lessor-faults-"))
    out.mkdir(parents=True, exist_ok=True)
    if options.mutants is not None:
        return _try_mutants(out, options.mutants, options.seed)
    seconds = options.minutes * 60
    durations = plan.PRODUCTION if options.production else plan.SHORT
    steps = plan.draw(
        *(options.seed, seconds, options.topology, options.nemesis),
        durations=durations,
        store_clocks=find_library() is not None,
    )
    plan.save(steps, out / "plan.jsonl")
    print(
        f"{len(steps)} faults in {options.minutes:g} min on {options.topology}, seed {options.seed}"
    )
    print(f"written to {out}", flush=True)
    with tempfile.TemporaryDirectory(prefix="lessor-rig-") as directory:
        load = Load(agents=options.agents, clients=options.clients, fleet=options.fleet)
        began, worked = time.monotonic(), _processor_times()
        rig = Rig(
            *(Path(directory), options.topology, steps),
            seconds=seconds,
            seed=options.seed,
            load=load,
            durations=durations,
        )
        try:
            history = rig.run()
        finally:
            for log in Path(directory).glob("*/log"):  # of daemons and of servers
                shutil.copy(log, out / f"{log.parent.name}.log")
    busy = _busy(worked, _processor_times())
    history.save(out / "history.jsonl")
    violations = judge(history)
    title = f"{options.topology}, seed {options.seed}, {options.minutes:g} min"
    title += ", production durations" if options.production else ""
    title += f", processors {busy:.0%} busy"
    report.write(out, title, history, violations, wall_seconds=time.monotonic() - began)
    print((out / "report.md").read_text())
    mistakes = _mistakes(out)
    print(f"mistakes in the logs: {len(mistakes)}", *mistakes[:1], sep="\n")
    return bool(violations or mistakes)


def _processor_times() -> list[int]:
    """Of all processors together, in ticks since the start, in the order of proc(5)."""
    with Path("/proc/stat").open(encoding="ascii") as file:
        return [int(field) for field in file.readline().split()[1:]]


def _busy(before: list[int], after: list[int]) -> float:
    """The share of the time in which they had something to do."""
    passed = [new - old for old, new in zip(before, after, strict=True)]
    idle = passed[3] + passed[4]  # nothing to do, and waiting for a disk
    return 1 - idle / sum(passed)


def _mistakes(out: Path) -> list[str]:
    """Lines in which a daemon says that it failed, and not its store or a caller."""
    lines = [line for log in out.glob("daemon-*.log") for line in log.read_text().splitlines()]
    return [line for line in lines if '"event": "internal_error"' in line]


def _try_mutants(out: Path, wanted: list[str], seed: int) -> int:
    verdicts = []
    for mutant in mutants.MUTANTS:
        if wanted and mutant.name not in wanted:
            continue
        with tempfile.TemporaryDirectory(prefix="lessor-rig-") as directory:
            verdict = mutants.try_out(mutant, Path(directory), seed=seed)
        verdicts.append(verdict)
        print(mutant.name, "caught" if verdict.is_caught else "NOT CAUGHT", flush=True)
    (out / "mutants.md").write_text(mutants.table(verdicts), encoding="utf-8")
    print(f"\n{mutants.table(verdicts)}")
    return not all(verdict.is_caught for verdict in verdicts)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--topology", choices=plan.TOPOLOGIES, default=plan.EMBEDDED)
    parser.add_argument(
        "--nemesis",
        type=lambda text: [one for one in text.split(",") if one],
        default=[],
        help="kinds or targets, comma-separated; default: all that fit",
    )
    parser.add_argument(
        "--mutants",
        nargs="*",
        metavar="NAME",
        help="instead of a run: try the mutants, all or those named",
    )
    parser.add_argument("--agents", type=int, default=Load().agents)
    parser.add_argument(
        "--clients", type=int, default=Load().clients, help="virtual ones, in each of 2 processes"
    )
    parser.add_argument(
        "--fleet", type=int, default=Load().fleet, help="leases in batches, in each of 2 processes"
    )
    parser.add_argument(
        "--production", action="store_true", help="ttl 30 s and the margins that the product has"
    )
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
