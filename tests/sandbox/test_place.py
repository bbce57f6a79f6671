"""Who refuses what: security modules and settings, as they say it themselves."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from buildah_py.sandbox import place
from tests.end_to_end.conftest import PYBUILD

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("profile", "who", "remedy"),
    [
        ("docker-default (enforce)\n", "AppArmor, by the profile docker-default (enforce)", "appArmorProfile"),
        ("system_u:system_r:container_t:s0:c1,c2\0", "SELinux, of the type container_t", "seLinuxOptions"),
        ("unconfined\n", "the kernel", "dmesg"),
        ("", "the kernel", "dmesg"),
    ],
)
def test_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: str, who: str, remedy: str) -> None:
    (tmp_path / "current").write_text(profile)
    monkeypatch.setattr(place, "_PROFILES", (str(tmp_path / "none"), str(tmp_path / "current")))
    found = place.who_refuses_mounts()
    assert found.who == who
    assert remedy in found.remedy
    assert (who in place.hint("overlay", 13, "container")) is (who != "the kernel")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("user.max_user_namespaces", "0"),
        ("kernel.unprivileged_userns_clone", "0"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1"),
    ],
)
def test_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """The remedy is to set the other value."""
    file = tmp_path / name.replace(".", "/")
    file.parent.mkdir()
    file.write_text(f"{value}\n")
    monkeypatch.setattr(place, "_SETTINGS", str(tmp_path))
    found = place.who_refuses_namespaces()
    assert f"the sysctl {name}={value}" in found.who
    assert f"sysctl {name}=" in found.remedy
    assert f"{name}={value}" not in found.remedy.split()


def test_places_that_are_there_or_would_be(tmp_path: Path) -> None:
    assert place.existing(f"{tmp_path}/a/b") == str(tmp_path)
    assert place.existing(str(tmp_path)) == str(tmp_path)


@pytest.mark.root
def test_a_setting_that_holds_in_a_namespace() -> None:
    """The number of further user namespaces is that of the one around."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare")
    script = "echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-sys_admin --inh-caps=-all "
    script += "pybuild doctor"
    command = ["unshare", "-Ur", "sh", "-c", script.replace("pybuild", PYBUILD)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == (0 if shutil.which("proot") else 1)
    assert "the sysctl user.max_user_namespaces=0 refuses it" in done.stdout
