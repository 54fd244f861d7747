"""A process full of virtual clients: ``python -m faults.rig.worker OUT SPEC``. Ends with its stdin.

SPEC is JSON: ``name``, ``count`` of clients, ``fleet`` (leases), ``seed``, ``licenses``,
``machines``, ``habits``, ``ttl`` in seconds, ``probe`` (bool). Server and key come from the
environment, as for any client. What was written down goes to OUT, one JSON object a line.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import asdict
from pathlib import Path

from lessor import config

from .clients import Client, Probe
from .fleet import Fleet
from .held import Notes

STACK_BYTES = 512 * 1024


def main(arguments: list[str]) -> int:
    """0, or 1 if a client failed."""
    out, spec = Path(arguments[0]), json.loads(arguments[1])
    threading.stack_size(STACK_BYTES)
    settings = config.load(os.environ)
    notes = Notes()
    over = threading.Event()
    threads: list[Client | Fleet | Probe] = [
        Client(
            notes,
            settings,
            f"{spec['name']}-{number}",
            licenses=spec["licenses"],
            machines=spec["machines"],
            habits=spec["habits"],
            ttl=spec["ttl"],
            over=over,
            seed=f"{spec['seed']}/{number}",
        )
        for number in range(spec["count"])
    ]
    if spec["probe"]:
        threads.append(Probe(notes, settings, f"probe-{spec['name']}", over))
    if spec["fleet"]:
        name, seed = f"fleet-{spec['name']}", f"{spec['seed']}/fleet"
        count, ttl = spec["fleet"], spec["ttl"]
        threads.append(Fleet(notes, settings, name, count=count, ttl=ttl, over=over, seed=seed))
    for thread in threads:
        thread.start()
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join()
    with out.open("w", encoding="utf-8") as file:
        for kind in ("asked", "ran"):
            for one in getattr(notes, kind):
                file.write(json.dumps({kind: asdict(one)}) + "\n")
    failures = [thread.failure for thread in threads if thread.failure]
    for failure in failures:
        print(repr(failure), file=sys.stderr)
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
