"""Play many histories, by hand: `python -m tests.truth --histories 20000 --jobs 2`.

They come in blocks of 50, one for each seed from --seed on. Of each block in which something goes wrong the shortest
history is printed as Python for tests/truth/test_found.py; a line for each fourth block says which seed to go on with.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time

from .hunt import BLOCK, Manner, block


def main() -> int:
    """Hunt; 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--histories", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1, help="processes; default: %(default)s")
    parser.add_argument("--seed", type=int, default=1000, help="of the first block; default: %(default)s")
    parser.add_argument("--edits", type=int, default=5, help="at most in a history; default: %(default)s")
    parser.add_argument("--no-shrink", action="store_true", help="print what fails as it was found")
    parser.add_argument("--known", default="", metavar="REGEX", help="pass over faults in which this is found")
    parser.add_argument("--watched", action="store_true", help="edit little but files: hits are of what steps read")
    options = parser.parse_args()
    started = time.monotonic()
    seeds = range(options.seed, options.seed - (-options.histories // BLOCK))
    builds = hits = answers = failed = 0
    work = [(seed, Manner(options.edits, not options.no_shrink, options.known, options.watched)) for seed in seeds]
    with multiprocessing.get_context("spawn").Pool(options.jobs, maxtasksperchild=20) as pool:
        for done, found in enumerate(pool.imap(block, work), 1):
            builds += found.builds
            hits += found.observed
            answers += found.answered
            if found.wrong:
                failed += 1
                print(f"seed {found.seed}:\n{found.wrong}\n", flush=True)
            if done % 4 == 0 or done == len(work):
                count = f"{done * BLOCK} histories, {builds} builds, {hits} observed hits, {answers} answered commands"
                went = f"{failed} blocks with faults, {time.monotonic() - started:.0f} s"
                print(f"{count}, {went}; next --seed {found.seed + 1}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
