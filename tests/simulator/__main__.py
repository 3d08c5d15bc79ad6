"""The command: `python -m tests.simulator --seed N` replays a run, `--seeds N` runs many."""

import argparse
import sys
import time
from collections import Counter

from tests.simulator.world import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this run and print its history")
    parser.add_argument("--seeds", type=int, default=100, help="run so many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    options = parser.parse_args()
    if options.seed is not None:
        return replay(options.seed)
    return many(range(options.first, options.first + options.seeds))


def replay(seed: int) -> int:
    world = run(seed)
    print(world.plan)
    print(world.watch.history())
    return report(seed, world.watch.violations)


def report(seed: int, violations: list[tuple[str, str]]) -> int:
    for name, sentence in violations:
        print(f"seed {seed}: {name}: {sentence}")
    return int(bool(violations))


def many(seeds: range) -> int:
    started, bad, names = time.monotonic(), 0, Counter()
    faults: Counter[str] = Counter()
    for seed in seeds:
        world = run(seed)
        bad += report(seed, world.watch.violations[:3])
        faults += world.watch.faults
        names.update({name for name, _ in world.watch.violations})
    seconds = time.monotonic() - started
    print(f"{len(seeds)} runs in {seconds:.1f} s, {len(seeds) / seconds:.0f} a second; {bad} broken")
    print(dict(names), dict(faults))
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
