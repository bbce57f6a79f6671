"""Builds in containers of others (tests/cages.py): the image is that of full isolation, and what is less is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .conftest import PYBUILD

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root]
CAGES = Path(__file__).resolve().parents[1] / "cages.py"

BUILD = """\
FROM busybox AS made
RUN echo 'app:x:1000:1000::/:/bin/sh' >> /etc/passwd && mkdir /app && chown 1000:1000 /app && chmod 750 /app
COPY --chown=7:8 --chmod=4755 f /f
RUN --mount=type=cache,target=/c echo x >> /c/n && wc -l < /c/n > /n
RUN rm -r /bin/vi /home && mkdir -p /d/e && ln /f /d/g && rm /f && ln -s ../n /d/l && mkfifo /d/p && echo 1 >> /n
RUN rm -r /d && mkdir /d && echo new > /d/g && chown 70000:70001 /d/g && echo '127.0.0.1 x' >> /etc/hosts
RUN --mount=type=bind,from=busybox,target=/b,rw --mount=type=secret,id=s --mount=type=tmpfs,target=/t \
    rm /b/bin/ls && test ! -e /b/bin/ls && cp /run/secrets/s /t/s && wc -c < /t/s > /size
USER app
RUN id -u > /app/who && id -G >> /app/who && test ! -w /etc/passwd
RUN <<end
read -r name < /proc/self/comm
echo "$name" > /app/comm
end
FROM busybox
COPY --from=made /d /d
COPY --from=made /n /size /
COPY --from=made --chown=5 /app /app
RUN ls -lnR /d /app /n /size | cut -c-40 > /all
"""
SINGLE = """\
FROM busybox
RUN mkdir /app && chmod 750 /app && rm -r /bin/vi /home && touch /app/one && echo 1 > /n
RUN --mount=type=cache,target=/single echo x >> /single/n && wc -l < /single/n > /n
"""


def cage(name: str, script: str, work: Path) -> subprocess.CompletedProcess[str]:
    """Run a script of the shell in a cage, with `work` as it is outside."""
    command = [sys.executable, str(CAGES), name, "--through", str(work), "--", "/bin/sh", "-euc", script, PYBUILD]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd="/")


def look(archive: Path) -> tuple[list[str], object]:
    """Give the layers' diff_ids of an image in an OCI archive, and its config."""
    with tarfile.open(archive) as tar:

        def read(digest: str) -> dict[str, object]:
            file = tar.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert file is not None
            loaded: dict[str, object] = json.load(file)
            return loaded

        file = tar.extractfile("index.json")
        assert file is not None
        manifest = read(json.load(file)["manifests"][0]["digest"])
        config = read(manifest["config"]["digest"])  # type: ignore[index]
    return config["rootfs"]["diff_ids"], config["config"]  # type: ignore[index]


@pytest.fixture(scope="module")
def work() -> Iterator[Path]:
    """Give a directory with the base image as an archive, contexts, and the images that full isolation makes."""
    with tempfile.TemporaryDirectory(prefix="pybuild-cages-") as directory:
        yield _fill(Path(directory))


def _fill(place: Path) -> Path:
    place.chmod(0o777)
    env = {**os.environ, "PYBUILD_ROOT": str(place / "full")}

    def run(*arguments: str) -> None:
        subprocess.run([PYBUILD, *arguments], check=True, env=env, capture_output=True)

    run("bootstrap", "busybox")
    run("save", "-o", str(place / "busybox.tar"), "busybox")
    for name, text in (("whole", BUILD), ("single", SINGLE)):
        context = place / name
        context.mkdir()
        (context / "Dockerfile").write_text(text)
        (context / "f").write_text("f\n")
        (place / "s").write_text("secret")
        run(*options(place, name, "full"))
    return place


def options(place: Path, context: str, name: str) -> list[str]:
    """Give the arguments of a build whose image is an archive of that name."""
    out = f"type=oci,dest={place}/{context}-{name}.tar"
    secret = f"id=s,src={place}/s"
    return ["build", "--timestamp", "0", "--secret", secret, "-t", "app", "-o", out, f"{place}/{context}"]


SAYS = {
    "nested": ("works on a copy of all its files", "no container can have a /proc of its own"),
    "nested-fuse": ("made writable by fuse-overlayfs", "no container can have a /proc of its own"),
    "nested-volume": ("no container can have a /proc of its own",),
    "nested-unmasked": (),
    "nested-user": ("works on a copy of all its files", "no container can have a /proc of its own"),
}


@pytest.mark.parametrize("name", SAYS)
def test_the_image_is_that_of_full_isolation(work: Path, name: str) -> None:
    context = "single" if name == "nested-user" else "whole"
    build = " ".join(options(work, context, name))
    done = cage(name, f'"$0" load -i {work}/busybox.tar; "$0" {build}; "$0" fsck', work)
    assert done.returncode == 0, done.stdout + done.stderr
    for text in SAYS[name]:
        assert text in done.stderr
    assert len(SAYS[name]) == sum(text in done.stderr for text in ("no overlay can be", "a /proc of its own"))
    assert look(work / f"{context}-{name}.tar") == look(work / f"{context}-full.tar")
