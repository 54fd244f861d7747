"""``python -m faults.rig``: one run of the rig, or the mutants. See ``docs/faults.md``."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from . import plan, report
from .rig import Load, Rig
from .service import judge


def main() -> int:
    """0 without a violation, 1 with one."""
    options = _parse()
    out: Path = options.out or Path(tempfile.mkdtemp(prefix="lessor-faults-"))
    out.mkdir(parents=True, exist_ok=True)
    seconds = options.minutes * 60
    steps = plan.draw(options.seed, seconds, options.topology, options.nemesis)
    plan.save(steps, out / "plan.jsonl")
    print(
        f"{len(steps)} faults in {options.minutes:g} min on {options.topology}, seed {options.seed}"
    )
    print(f"written to {out}", flush=True)
    with tempfile.TemporaryDirectory(prefix="lessor-rig-") as directory:
        load = Load(agents=options.agents, clients=options.clients)
        began = time.monotonic()
        rig = Rig(
            *(Path(directory), options.topology, steps),
            seconds=seconds,
            seed=options.seed,
            load=load,
        )
        history = rig.run()
    history.save(out / "history.jsonl")
    violations = judge(history)
    title = f"{options.topology}, seed {options.seed}, {options.minutes:g} min"
    report.write(out, title, history, violations, wall_seconds=time.monotonic() - began)
    print((out / "report.md").read_text())
    return bool(violations)


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
    parser.add_argument("--agents", type=int, default=6)
    parser.add_argument(
        "--clients", type=int, default=20, help="virtual ones, in each of 2 processes"
    )
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
