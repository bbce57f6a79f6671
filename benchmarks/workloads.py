"""Workloads that builders are timed on: build files, with contexts that are made and changed."""

from __future__ import annotations

import os
import random
import subprocess
import sysconfig
import time
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMALL, DEBIAN = "@busybox@", "@debian@"
"""Base images in build files, for which their names in a registry are put."""
COLD, FIRST, WARM, CHANGE, EXPORT = "cold", "first hits", "all hits", "one changed", "export"
PUSH = "then push"
"""Modes that are timed: a build of nothing known, the first one and later ones with nothing changed, and so on."""
_PACKAGES: Final = (
    "python3", "python3-minimal", "libpython3-stdlib", "python3.11", "python3.11-minimal", "libpython3.11-minimal",
    "libpython3.11-stdlib", "libexpat1", "media-types", "libsqlite3-0", "libreadline8", "readline-common",
    "libncursesw6", "libnsl2", "libtirpc3", "libtirpc-common", "libgssapi-krb5-2", "libkrb5-3", "libk5crypto3",
    "libkrb5support0", "libkeyutils1", "libcom-err2", "libssl3", "krb5-locales", "ca-certificates", "openssl",
)  # fmt: skip
"""Packages that python3 of Debian 12 needs beyond a minimal system: a build of it needs no network."""


@dataclass(frozen=True)
class Workload:
    """A build file, what is timed of it, and how its context is made and changed."""

    text: str
    modes: tuple[str, ...] = (COLD, FIRST, WARM)
    make: Callable[[Path], None] = lambda _: None
    change: Callable[[Path, int], None] = lambda _, __: None

    @property
    def base(self) -> str:
        """The base image that it begins with."""
        return DEBIAN if DEBIAN in self.text else SMALL

    def write(self, context: Path, base: str) -> None:
        """Make the context, with a build file on a base image, unless it is there."""
        if not context.exists():
            context.mkdir(parents=True)
            self.make(context)
        (context / "Dockerfile").write_text(self.text.replace(self.base, base))


def many_files(context: Path, directories: int = 200) -> None:
    """Make 20,000 files of 0 to 9,000 bytes in 200 directories, or another number of these with 100 files each."""
    for directory in range(directories):
        place = context / "tree" / f"d{directory:05d}"
        place.mkdir(parents=True)
        for number in range(100):
            (place / f"f{number:03d}").write_bytes(f"{directory}/{number}\n".encode() * (number * 9))


def change_one(context: Path, turn: int) -> None:
    """Change one of them."""
    (context / "tree/d00001/f050").write_text(f"changed {turn} {time.time_ns()}\n")


def large_files(context: Path, size: int = 1 << 30) -> None:
    """Make a file of random bytes and one of text, each of that many bytes (a multiple of 1 MiB)."""
    words = [word.encode() for word in ("layer", "cache", "key", "tree", "digest", "index", "entry", "blob")]
    chance = random.Random(1)  # the same on every machine
    with open(context / "random", "wb") as noise, open(context / "text", "wb") as text:
        for _ in range(size >> 20):
            noise.write(os.urandom(1 << 20))
            text.write(b" ".join(chance.choices(words, k=200_000))[: 1 << 20].ljust(1 << 20))


def service(context: Path) -> None:
    """Make a Python service on Debian: packages, a wheel of the standard library, 201 source files."""
    for name in ("debs", "wheels"):
        (context / name).mkdir()
    fetch = ["apt-get", "download", "-q", "-oAPT::Sandbox::User=root", *_PACKAGES]
    subprocess.run(fetch, cwd=context / "debs", check=True, stdout=subprocess.DEVNULL)
    library = sysconfig.get_path("stdlib")
    with zipfile.ZipFile(context / "wheels/own-1-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        for place, directories, names in os.walk(library):
            directories[:] = sorted(name for name in directories if name != "site-packages")
            for name in sorted(name for name in names if name.endswith(".py")):
                path = os.path.join(place, name)
                wheel.write(path, os.path.join("own", os.path.relpath(path, library)))
    for number in range(200):
        package = context / f"src/p{number % 10}"
        package.mkdir(parents=True, exist_ok=True)
        functions = (f"def f{one}(value):\n    return value * {one} + {number}\n" for one in range(40))
        (package / f"m{number}.py").write_text("\n\n".join(functions))
    change_source(context, 0)


def change_source(context: Path, turn: int) -> None:
    """Change one of its source files."""
    (context / "src/main.py").write_text(f"print({turn}, {time.time_ns()})\n")


def steps(count: int) -> str:
    """Write a build file of small RUN steps."""
    return f"FROM {SMALL}\n" + "".join(f"RUN echo {number} > /f{number}\n" for number in range(count))


def stages(count: int) -> str:
    """Write stages that each sleep a second, and one that gathers their files."""
    parts = [f"FROM {SMALL} AS s{number}\nRUN sleep 1; echo {number} > /out{number}\n" for number in range(count)]
    copies = [f"COPY --from=s{number} /out{number} /out/\n" for number in range(count)]
    return "\n".join([*parts, f"FROM {SMALL}\n" + "".join(copies)])


def copying(directories: int) -> Workload:
    """Describe a COPY of 100 files in each of so many directories."""
    modes = (COLD, FIRST, WARM, CHANGE, EXPORT)
    return Workload(f"FROM {SMALL}\nCOPY . /src\n", modes, lambda place: many_files(place, directories), change_one)


_SERVICE: Final = f"""FROM {DEBIAN}
ENV DEBIAN_FRONTEND=noninteractive PYTHONDONTWRITEBYTECODE=1
COPY debs /tmp/debs
RUN cd /tmp/debs && dpkg -i libpython3.11-minimal* python3.11-minimal* libssl3* libexpat1* \\
 && dpkg -i python3-minimal* && dpkg -i *.deb && rm -r /tmp/debs
COPY wheels /tmp/wheels
RUN python3 -m zipfile -e /tmp/wheels/*.whl /usr/local/lib/python3.11/dist-packages && rm -r /tmp/wheels
COPY src /app/src
RUN python3 -m compileall -q /app/src
CMD ["python3", "/app/src/main.py"]
"""

WORKLOADS: Final = {
    "noop20": Workload(steps(20)),
    "noop120": Workload(steps(120)),
    "stages8": Workload(stages(8)),
    "copy20000": copying(200),
    "copy50000": copying(500),
    "copy2g": Workload(f"FROM {SMALL}\nCOPY . /src\n", (COLD, FIRST, WARM, EXPORT), large_files),
    "service": Workload(_SERVICE, (COLD, FIRST, WARM, CHANGE, EXPORT), service, change_source),
    "pull": Workload(f"FROM {DEBIAN}\nRUN echo pulled > /pulled\n", (PUSH,)),
}
