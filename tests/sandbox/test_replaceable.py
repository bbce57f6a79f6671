"""Where commands may run in place: in a root that is meant for it, and nowhere else."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import SandboxError
from buildah_py.linux import mounts
from buildah_py.linux.mount_points import mount_points
from buildah_py.sandbox import replaceable

if TYPE_CHECKING:
    from collections.abc import Callable

    Files = Callable[..., None]

WORD = {replaceable.WORD: replaceable.WORDS}


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Files:
    """Have the root look as wanted: by its first process, marks of a runtime, its file system."""

    def look(first: str = "sh", mark: bool = False, overlay: bool = True) -> None:
        monkeypatch.setattr(replaceable, "open", lambda *_words, **_more: io.StringIO(f"{first}\n"), raising=False)
        monkeypatch.setattr(replaceable, "_MARKS", ("/proc",) if mark else ("/nowhere",))
        kind = replaceable._OVERLAY if overlay else 0xEF53
        monkeypatch.setattr(mounts, "file_system_type", lambda _: kind)

    return look


@pytest.mark.parametrize(
    ("look", "environ", "said"),
    [
        ({"first": "systemd"}, {}, "its process 1 is systemd"),
        ({"first": "init", "mark": True}, {"container": "lxc"}, "its process 1 is init"),
        ({"overlay": False}, {}, "nothing shows that this is a container"),
        ({}, {}, ""),
        ({"overlay": False, "mark": True}, {}, ""),
        ({"overlay": False}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, ""),
    ],
)
def test_what_may_be_somebodys_is_refused(
    looks: Files, look: dict[str, object], environ: dict[str, str], said: str
) -> None:
    looks(**look)
    assert replaceable._somebodys(environ) == said.replace("is systemd", "is systemd, as on a machine").replace(
        "is init", "is init, as on a machine"
    )
    tops = {f"/{name}" for name in os.listdir("/") if name not in replaceable.OF_IMAGES}
    if said:
        with pytest.raises(SandboxError, match="PYBUILD_IN_PLACE") as error:
            replaceable._refuse_what_is_somebodys(environ, tops)
        assert said in error.value.message


@pytest.mark.parametrize("place", ["/tmp", "/etc"])
def test_what_images_have_is_not_left_alone(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setattr(replaceable, "files_in_use", set)
    monkeypatch.setattr(os.path, "ismount", lambda _: False)
    with pytest.raises(SandboxError, match=f"leaves {place} as it is"):
        replaceable._refuse_what_is_somebodys(WORD, {place})
    replaceable._refuse_what_is_somebodys(WORD, {f"{place}/below"})


def test_the_program_has_to_lie_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaceable, "files_in_use", lambda: {"/usr/lib/libc.so.6", "/pybuild/lib/python3"})
    with pytest.raises(SandboxError, match=r"needs /usr/lib/libc.so.6"):
        replaceable._refuse_what_is_somebodys(WORD, {"/pybuild"})
    replaceable._refuse_what_is_somebodys(WORD, {"/pybuild", "/usr/lib"})


def test_rights_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(replaceable, "effective_capabilities", lambda: (1 << 41) - 2)
    with pytest.raises(SandboxError, match="the capabilities CHOWN") as error:
        replaceable._refuse_without_rights()
    assert error.value.hint == "`capabilities: {add: [CHOWN]}` of a pod's securityContext allows it"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SandboxError, match="takes root"):
        replaceable._refuse_without_rights()


def test_mount_points_are_paths() -> None:
    found = mount_points()
    assert "/proc" in found
    assert "/" not in found
    assert all(path.startswith("/") for path in found)
