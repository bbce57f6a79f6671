"""A build that is told through a named pipe what to do next, shown on the terminal. Run by test_tty."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from buildah_py.progress import choose, events


def main() -> None:
    sink = choose.renderer("tty", err=sys.stderr, out=sys.stdout, env=os.environ)
    with Path(sys.argv[1]).open(encoding="utf-8") as commands, sink:
        for line in commands:
            if line == "raise\n":
                raise KeyboardInterrupt
            sink(eval(line, {"e": events}))
    sys.stderr.write("prompt$ ")


if __name__ == "__main__":
    main()
