"""Run pybuild without one protection after the other: does a test notice? By hand: `python -m tests.naive [NAME…]`.

Each variant is tried in a machine to throw away (machine.py), which needs root. First the tests have to pass there on
what stands in the tree. Ends with 1 where one of these fails, or where a variant is not caught or does not apply.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from .machine import Ran, run_tests
from .variant import MisfitError, Variant, changed, proofs, variants

if TYPE_CHECKING:
    from collections.abc import Sequence

CONTROLS = (
    "sandbox/test_run.py::test_runs_a_command_and_keeps_what_it_writes",
    "end_to_end/test_build.py::test_hello",
)
"""Plain use of the sandbox and of the program, which works with every variant: else anything would be caught."""
_SECONDS = 180
_RED = {"FAILED", "ERROR", "CUT"}


def main() -> int:
    """Try the variants; 1 where anything is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.naive", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of variants; default: all")
    parser.add_argument("--list", action="store_true", help="print names and attacks")
    parser.add_argument("--show", action="store_true", help="print what failed")
    options = parser.parse_args()
    known = {variant.name: variant for variant in (*proofs(), *variants())}
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"there is no variant {', '.join(unknown)}")
    chosen = [known[name] for name in options.names] or list(known.values())
    if options.list:
        print("\n".join(f"{variant.name:<44} {variant.attack}" for variant in chosen))
        return 0
    if os.geteuid() != 0:
        parser.error("root is needed to make a machine to throw away")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing is left behind
    started = time.monotonic()
    failed = _unchanged(chosen)
    for variant in chosen:
        verdict, said = _try(variant, CONTROLS if variant in variants() else ())
        failed += verdict != "caught"
        print(f"{verdict:<16}{variant.name}", flush=True)
        if verdict != "caught" or options.show:
            print(said, flush=True)
    print(f"{len(chosen)} variants, {failed} not as they should be, {time.monotonic() - started:.0f} s")
    return 1 if failed else 0


def _unchanged(chosen: Sequence[Variant]) -> int:
    """Run the tests of the variants on what stands in the tree; how many do not pass."""
    tests = sorted({test for variant in chosen for test in variant.tests} | {*CONTROLS})
    ran = run_tests(tests, {}, seconds=_SECONDS * 20)
    bad = [test for test in tests if _outcomes(ran, test) != {"PASSED"}]
    print(f"{len(tests)} tests without a change: {f'these do not pass: {bad}' if bad else 'all pass'}", flush=True)
    if bad:
        print(ran.output[-20_000:])
    return len(bad)


def _outcomes(ran: Ran, test: str) -> set[str]:
    """Give the outcomes of a test's cases."""
    found = {what for case, what in ran.outcomes.items() if case == test or case.startswith(f"{test}[")}
    return found or {"MISSING"}


def _missing(variant: Variant, ran: Ran) -> list[str]:
    return [test for test in variant.tests if _outcomes(ran, test) == {"MISSING"}]


def _try(variant: Variant, controls: Sequence[str]) -> tuple[str, str]:
    """Give the verdict and what there is to say about it."""
    try:
        changes = changed(variant)
    except MisfitError as error:
        return "DOES NOT APPLY", str(error)
    ran = run_tests([*controls, *variant.tests], changes, seconds=_SECONDS)
    if broken := [control for control in controls if _outcomes(ran, control) != {"PASSED"}]:
        return "BROKEN", f"nothing works with it: {broken}\n{ran.output[-6000:]}"
    while "CUT" in ran.outcomes.values() and (left := _missing(variant, ran)):  # behind one that waits for ever
        again = run_tests(left, changes, seconds=_SECONDS)
        if _missing(variant, again) == list(variant.tests):
            break
        ran = Ran(ran.outcomes | again.outcomes, again.output)
    if green := [test for test in variant.tests if not _outcomes(ran, test) & _RED]:
        return "NOT CAUGHT", "\n".join(f"  {test}: {', '.join(_outcomes(ran, test))}" for test in green)
    return "caught", "\n".join(line for line in ran.output.splitlines() if line.startswith(("FAILED", "ERROR")))


if __name__ == "__main__":
    sys.exit(main())
