"""The command: `python -m tests.simulator --seed N` replays a run, `--seeds N` runs many."""

# ruff: noqa: T201 - prints for people

import argparse
import os
import signal
import sys
import time
from collections import Counter

from tests.simulator.mutations import MUTATIONS, hunt
from tests.simulator.world import run

INTERRUPTED = 130


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this run and print its history")
    parser.add_argument("--seeds", type=int, default=100, help="run so many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--mutations", action="store_true", help="print which mutation is caught by what")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, _stop)
    if options.mutations:
        return table()
    if options.seed is not None:
        return replay(options.seed)
    return many(range(options.first, options.first + options.seeds))


def _stop(_number: int, _frame: object) -> None:
    """End at once: nothing is left behind, and lives broken off have nothing to tell."""
    print("stopped: nothing was proven", file=sys.stderr, flush=True)
    os._exit(INTERRUPTED)


def replay(seed: int) -> int:
    world = run(seed)
    print(world.plan)
    print(world.watch.history())
    return report(seed, world.watch.violations)


def table() -> int:
    """Print the README's table."""
    print("| broken on purpose | caught by | first seed | seeds tried at most |\n|---|---|---|---|")
    missed = 0
    for each in MUTATIONS:
        caught = hunt(each)
        missed += caught is None
        found = f"{caught.invariant.replace('_', ' ')} | {caught.seed}" if caught else "**nothing** | none"
        print(f"| {each.what} | {found} | {each.bound} |", flush=True)
    return missed


def report(seed: int, violations: list[tuple[str, str]]) -> int:
    for name, sentence in violations:
        print(f"seed {seed}: {name}: {sentence}")
    return int(bool(violations))


def many(seeds: range) -> int:
    started, bad, names = time.monotonic(), 0, Counter()
    faults: Counter[str] = Counter()
    for seed in seeds:
        try:
            world = run(seed)
        except Exception:
            print(f"seed {seed} broke the simulator itself", flush=True)
            raise
        bad += report(seed, world.watch.violations[:3])
        faults += world.watch.faults
        names.update({name for name, _ in world.watch.violations})
    seconds = time.monotonic() - started
    print(f"{len(seeds)} runs in {seconds:.1f} s, {len(seeds) / seconds:.0f} a second; {bad} broken")
    print(f"{faults.total():,} faults:", ", ".join(f"{kind} {n:,}" for kind, n in faults.most_common()))
    if names:
        print("invariants broken:", ", ".join(f"{name} {n}" for name, n in names.most_common()))
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
