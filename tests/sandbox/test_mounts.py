from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.errors import SandboxError
from buildah_py.sandbox import BindMount, FileMount, OverlayMount, StubFile, TmpfsMount

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.conftest import Bench

pytestmark = pytest.mark.root


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "file").write_text("from the host\n")
    return source


def test_bind_is_read_only_and_its_target_is_not_committed(bench: Bench, source: Path) -> None:
    result = bench.sh("cat /new/place/file; touch /new/place/x", mounts=(BindMount(str(source), "/new/place"),))
    assert result.out == "from the host\n"
    assert "Read-only file system" in result.err
    assert bench.committed() == []


def test_writable_bind_by_descriptor(bench: Bench, source: Path) -> None:
    descriptor = os.open(source, os.O_PATH)
    bench.sh("echo written > /cache/new", mounts=(BindMount(descriptor, "/cache", readonly=False),))
    os.close(descriptor)
    assert (source / "new").read_text() == "written\n"
    assert bench.committed() == []


def test_bind_of_a_file(bench: Bench, source: Path) -> None:
    mount = BindMount(str(source / "file"), "/etc/deep/config")
    assert bench.sh("cat /etc/deep/config", mounts=(mount,)).out == "from the host\n"
    assert bench.committed() == []


def test_a_device_bound_from_the_host_cannot_be_opened(bench: Bench, source: Path) -> None:
    os.mknod(source / "disk", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    mount = BindMount(str(source / "disk"), "/dev/given", readonly=False, devices=True)
    assert bench.sh("echo x > /dev/given && echo written", mounts=(mount,)).out == "written\n"
    assert (
        "Permission denied" in bench.sh("echo x > /m/disk", mounts=(BindMount(str(source), "/m", readonly=False),)).err
    )


def test_target_behind_links_stays_inside(bench: Bench, source: Path, tmp_path: Path) -> None:
    (tmp_path / "outside" / "deeper").mkdir(parents=True)
    (bench.base / "link").symlink_to("/../../../../target")
    (bench.base / "away").symlink_to(tmp_path / "outside")
    (bench.base / "loop").symlink_to("loop")
    for link, target in (("link", "/target"), ("away", f"{tmp_path}/outside")):
        result = bench.sh(f"cat {target}/deeper/file", mounts=(BindMount(str(source), f"/{link}/deeper"),))
        assert result.out == "from the host\n"
    with pytest.raises(SandboxError, match=r"loop.*symbolic links"):
        bench.sh("true", mounts=(BindMount(str(source), "/loop/x"),))


def test_a_file_in_the_way_of_a_target(bench: Bench, source: Path) -> None:
    with pytest.raises(SandboxError, match="/etc/passwd/x: Not a directory"):
        bench.sh("true", mounts=(BindMount(str(source), "/etc/passwd/x"),))
    with pytest.raises(SandboxError, match="Not a directory"):
        bench.sh("true", mounts=(BindMount(str(source), "/etc/passwd"),))
    with pytest.raises(SandboxError, match="Is a directory"):
        bench.sh("true", mounts=(BindMount(str(source / "file"), "/etc"),))


@pytest.mark.parametrize("target", ["/", "relative", "/a/../..", "/proc", "/proc/self", "//"])
def test_impossible_targets(bench: Bench, source: Path, target: str) -> None:
    with pytest.raises(SandboxError):
        bench.sh("true", mounts=(BindMount(str(source), target),))


def test_missing_source(bench: Bench, source: Path) -> None:
    with pytest.raises(SandboxError, match=r"bind .*nowhere at /m .*No such file"):
        bench.sh("true", mounts=(BindMount(str(source / "nowhere"), "/m"),))


def test_mounts_within_mounts(bench: Bench, source: Path) -> None:
    mounts = (BindMount(str(source), "/t/inner"), TmpfsMount("/t", size=1 << 20), FileMount("/dev/shm/f", b"x"))
    result = bench.sh("cat /t/inner/file /dev/shm/f; touch /t/new; df -k /t | tail -1", mounts=mounts)
    assert result.out.startswith("from the host\nxtmpfs")
    assert "1024" in result.out
    assert bench.committed() == []


def test_secret(bench: Bench) -> None:
    mount = FileMount("/run/secrets/token", b"s3cret", mode=0o440, uid=1000, gid=1001)
    result = bench.sh("cat /run/secrets/token; stat -c ' %a %u %g' /run/secrets/token", mounts=(mount,), user="app")
    assert result.out == "s3cret 440 1000 1001\n"
    assert bench.committed() == []
    assert "s3cret" not in mount.describe()


def test_files_of_the_init_layer(bench: Bench) -> None:
    """Seen where the image has nothing; a link that leads nowhere is followed; what is in the way stays."""
    (bench.base / "etc" / "dangling").symlink_to("certs/bundle")
    paths = ("/etc/ssl/new", "/etc/passwd", "/etc/dangling", "/etc/passwd/below", "/t/below")
    mounts = (*(StubFile(path, b"stub\n") for path in paths), TmpfsMount("/t"))
    result = bench.sh("cat /etc/ssl/new /etc/dangling; head -n1 /etc/passwd; ls /t", mounts=mounts)
    assert result.out == "stub\nstub\nroot:x:0:0:root:/root:/bin/sh\n"
    assert bench.committed() == []
    bench.sh("cd /etc/ssl; echo own > x; mv x new", mounts=mounts)
    assert bench.committed() == ["etc", "etc/ssl", "etc/ssl/new"]


def test_here_document_of_a_megabyte(bench: Bench) -> None:
    content = b"0123456789abcdef" * 65536
    result = bench.sh("wc -c < /script; md5sum < /script", mounts=(FileMount("/script", content, mode=0o755),))
    assert result.out.split()[0] == str(len(content))


def test_layers_elsewhere(bench: Bench, tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "etc").mkdir(parents=True)
    (top / "etc" / "added").write_text("added\n")
    (top / "out").symlink_to("/etc")
    layers = (str(top), str(bench.base))
    mounts = (OverlayMount(layers, "/stage"), OverlayMount(layers, "/one", "/out/passwd"))
    result = bench.sh("cat /stage/etc/added; head -n1 /one; touch /stage/x", mounts=mounts)
    assert result.out == "added\nroot:x:0:0:root:/root:/bin/sh\n"
    assert "Read-only" in result.err
    upper, work = tmp_path / "u", tmp_path / "w"
    upper.mkdir()
    work.mkdir()
    bench.sh("touch /stage/x", mounts=(OverlayMount(layers, "/stage", "/", str(upper), str(work)),))
    assert os.listdir(upper) == ["x"]


def test_a_step_that_replaces_what_leads_to_its_mount(bench: Bench, source: Path) -> None:
    """CVE-2024-23652: nothing is cleaned up by path afterwards, so no link can lead the cleaning astray."""
    (source / "empty").touch()
    mount = BindMount(str(source), "/a/b/mount")
    bench.sh(f"mv /a/b /a/c; mkdir /a/b; ln -s {source}/empty /a/b/mount; ln -s {source} /etc/new", mounts=(mount,))
    assert sorted(os.listdir(source)) == ["empty", "file", "sub"]


def test_layers_in_one_string(bench: Bench, tmp_path: Path) -> None:
    """Kernels before 6.7 take no layer by itself."""
    program = (
        "import errno, os, sys\n"
        "from buildah_py.linux import mounts, namespaces\n"
        "from buildah_py.sandbox.overlay import overlay\n"
        "from buildah_py.sandbox.root import Root\n"
        "namespaces.unshare(namespaces.CLONE_NEWNS)\n"
        "mounts.mount_setattr(mounts.AT_FDCWD, '/', propagation=mounts.MS_PRIVATE, recursive=True)\n"
        "real = mounts.fsconfig\n"
        "def old(context, key, value=None):\n"
        "    if key == 'lowerdir+':\n"
        "        raise OSError(errno.EINVAL, 'unknown parameter')\n"
        "    real(context, key, value)\n"
        "mounts.fsconfig = old\n"
        "root = Root((), scratch='', unprivileged=False, devices=False)\n"
        "top, base, upper, work, anchor = sys.argv[1:]\n"
        "mount = overlay((top, base), upper, work, root, anchor)\n"
        "os.close(os.open('new', os.O_CREAT, dir_fd=mount))\n"
        "print(open(os.open('a,b:c', os.O_RDONLY, dir_fd=mount)).read(), os.listdir(anchor))\n"
    )
    top, anchor = tmp_path / "top:with,odd\\\\name", tmp_path / "anchor"
    for directory in (top, anchor, tmp_path / "u", tmp_path / "w"):
        directory.mkdir()
    (top / "a,b:c").write_text("read")
    argv = [str(path) for path in (top, bench.base, tmp_path / "u", tmp_path / "w", anchor)]
    ran = subprocess.run([sys.executable, "-c", program, *argv], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("read []\n", "")
    assert os.listdir(tmp_path / "u") == ["new"]


def test_new_directories_of_the_step_are_its_own(bench: Bench, source: Path) -> None:
    """What a step makes beside a mount target is committed, the target is not."""
    bench.sh("touch /a/b/kept", mounts=(BindMount(str(source), "/a/b/mount"),))
    assert bench.committed() == ["a", "a/b", "a/b/kept"]


@pytest.mark.parametrize(
    "changes", [{"network": "bridge"}, {"security": "Insecure"}, {"seccomp": "none"}, {"cap_add": ("CAP_FLY",)}]
)
def test_unknown_modes_are_refused(bench: Bench, changes: dict[str, Any]) -> None:
    with pytest.raises(SandboxError, match="unknown"):
        bench.sh("true", **changes)
