"""Small RUN steps, and the compilation of C files, below PRoot and with full isolation, by turns; as root on Debian.

    python benchmarks/proot.py [--rounds N]

Both build on busybox, the second with a compiler on Debian, whose image `pybuild bootstrap debian` makes. Below PRoot
it is an ordinary user in the cage `restricted` of tests/cages.py, whose state lies on an overlay in memory; that of
full isolation lies in memory too.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
CAGE = [sys.executable, str(HERE / "tests" / "cages.py"), "restricted"]
STEPS, FILES = 20, 40
SOURCE = """#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int part_{0}(int n)
{{
    char *text = malloc(n + 1);
    memset(text, 'a', n);
    text[n] = 0;
    n = printf("%s", text);
    free(text);
    return n;
}}
"""


def contexts(place: Path) -> dict[str, Path]:
    """Write both."""
    steps, compiled = place / "steps", place / "compiled"
    for one in (steps, compiled):
        one.mkdir()
    lines = [f"RUN echo {number} > /file-{number}" for number in range(STEPS)]
    (steps / "Dockerfile").write_text("\n".join(["FROM busybox", *lines, ""]))
    for number in range(FILES):
        (compiled / f"part{number}.c").write_text(SOURCE.format(number))
    command = "for file in *.c; do gcc -O2 -c $file || exit; done && ld -r -o all.o part*.o"
    (compiled / "Dockerfile").write_text(f"FROM compiler\nWORKDIR /src\nCOPY *.c ./\nRUN {command}\n")
    return {f"{STEPS} small RUN": steps, f"gcc, {FILES} files": compiled}


def prepare(place: Path, program: str) -> None:
    """Make the base images, as archives."""
    env = {**os.environ, "PYBUILD_ROOT": str(place / "base")}

    def run(*words: str) -> None:
        subprocess.run([program, *words], check=True, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    run("bootstrap", "busybox")
    run("bootstrap", "debian")
    compiler = place / "compiler"
    compiler.mkdir()
    install = "apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev"
    (compiler / "Dockerfile").write_text(f"FROM debian:bookworm\nRUN {install} && rm -rf /var/lib/apt/lists/*\n")
    run("build", "-t", "compiler", str(compiler))
    for name in ("busybox", "compiler"):
        run("save", "-o", str(place / f"{name}.tar"), name)


def main() -> None:
    """Measure, and print medians in seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    program = str(Path(sys.executable).with_name("pybuild"))
    with tempfile.TemporaryDirectory(prefix="pybuild-bench-", dir="/dev/shm") as directory:
        place = Path(directory)
        place.chmod(0o755)
        prepare(place, program)
        builds = contexts(place)
        loads = " && ".join(f'"$0" load -q -i {place}/{name}.tar' for name in ("busybox", "compiler"))
        timed = '/usr/bin/time -f "%e" "$0" build --network=host --no-cache -q'
        once = "; ".join(f"{timed} {one}" for one in builds.values())
        script = f"{loads} && for i in $(seq {args.rounds + 1}); do {once}; done"
        full = {**os.environ, "PYBUILD_ROOT": str(place / "full"), "PATH": os.environ["PATH"]}
        for kind, command, env in (
            ("full isolation", ["/bin/sh", "-euc", script, program], full),
            ("below PRoot", [*CAGE, "--through", str(place), "--", "/bin/sh", "-euc", script, program], None),
        ):
            done = subprocess.run(command, check=True, env=env, capture_output=True, text=True)
            seconds = [float(line) for line in done.stderr.splitlines() if line.replace(".", "").isdecimal()]
            for number, name in enumerate(builds):
                times = seconds[number :: len(builds)][1:]  # the first one fills caches, and the working root
                low, high = min(times), max(times)
                print(f"{name}, {kind}: {statistics.median(times):.2f} s [{low:.2f}-{high:.2f}]")
        print(shlex.join(os.uname()[2:3]), f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
