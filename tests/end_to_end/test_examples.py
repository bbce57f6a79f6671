"""The examples build and run for real; those that fetch packages, where the network for that is there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from .conftest import EXAMPLES, Pybuild

if TYPE_CHECKING:
    from tests.warm import WarmCommand

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory, warm: WarmCommand) -> Pybuild:
    """Give a store with Debian from this machine's own apt sources, or skip."""
    if shutil.which("mmdebstrap") is None:
        pytest.skip("needs mmdebstrap")
    update = subprocess.run(["apt-get", "update", "-q"], check=False, capture_output=True, text=True)
    if update.returncode or "Failed to fetch" in update.stderr:
        pytest.skip("needs the network: the apt sources of this machine cannot be reached")
    work = tmp_path_factory.mktemp("debian")
    made = Pybuild(work / "state", work, warm=warm)
    made.run("bootstrap", "debian:bookworm", "--own-sources")
    for name in ("hostname", "resolv.conf"):  # this machine's are none of an image's business
        made.run("cat", f"debian:bookworm:/etc/{name}", status=125)
    return made


@pytest.mark.network
@pytest.mark.slow
def test_webapp(debian: Pybuild) -> None:
    result = debian.run("--progress=plain", "--ca-bundle=host", "-t", "webapp", EXAMPLES / "webapp")
    assert "Successfully installed bottle" in result.stderr
    shown = debian.run("run", "--network=none", "webapp", "/venv/bin/python", "app.py", "--once").stdout
    assert re.fullmatch(r"Hello from a container, as user 65534\.\n", shown)
    found = debian.run(
        "run", "--network=none", "--user=0", "webapp", "sh", "-c", "ls /run; env; cat /etc/apt/apt.conf.d/*"
    )
    assert "ca-bundle" not in found.stdout, "the certificates of this machine are not in the image"
    again = debian.run("--progress=plain", "--ca-bundle=host", "-t", "webapp", EXAMPLES / "webapp")
    assert "0 executed" in again.stderr
    without = debian.run("--progress=plain", "-t", "webapp", EXAMPLES / "webapp")
    assert "0 executed" in without.stderr, "certificates are not in the keys"


@pytest.mark.network
@pytest.mark.slow
def test_c_static(debian: Pybuild) -> None:
    debian.run("--progress=plain", "-t", "primes", EXAMPLES / "c-static")
    assert debian.run("run", "--network=none", "primes").stdout == "2 3 5 7 11 13 17 19 23 29 31 37 41 43 47 \n"
    assert debian.run("run", "--network=none", "primes", "10").stdout == "2 3 5 7 \n"
    image = json.loads(debian.run("inspect", "primes").stdout)[0]["Pybuild"]
    assert len(image["layers"]) == 1
    assert image["size"] < 2_000_000


def test_monorepo(busybox: Pybuild) -> None:
    """Forty images; what they share is executed once."""
    shutil.copytree(EXAMPLES / "monorepo", busybox.work, dirs_exist_ok=True)
    result = busybox.run("bake", "--progress=plain")
    assert result.stderr.count("\nbuilt sha256:") == 40
    assert result.stderr.count(" RUN sleep") == 1 + 3 + 9 + 27 * 2
    shown = busybox.run("run", "--network=none", "monorepo/service-go-web-api").stdout
    assert "the runtime of go\n" in shown
    assert "What all services do.\n" in shown
