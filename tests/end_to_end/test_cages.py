"""Builds in containers of others (tests/cages.py): the image is that of full isolation, and what is less is said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .conftest import PYBUILD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Pybuild

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


def cage(
    name: str, script: str, work: Path, root: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a script of the shell in a cage, with `work` as it is outside; on the `root` of the executor image."""
    command = [sys.executable, str(CAGES), name, "--through", str(work)]
    if root is None:
        command += ["--", "/bin/sh", "-euc", script, PYBUILD]
        return subprocess.run(command, check=False, capture_output=True, text=True, cwd="/")
    command += ["--root", str(root), "--", "/pybuild/bin/sh", "-euc", script]
    env = {"PATH": "/pybuild/bin", "TMPDIR": "/pybuild/tmp", "BUILDAH_ISOLATION": "in-place", **variables}
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd="/", env=env)


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
        yield fill(Path(directory))


def fill(place: Path) -> Path:
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
    shutil.copytree(CAGES.parents[1] / "examples" / "hello", place / "hello")
    (place / "s").write_text("secret")
    for name in ("whole", "single", "hello"):
        run(*options(place, name, "full"))
    return place


def options(place: Path, context: str, name: str) -> list[str]:
    """Give the arguments of a build whose image is an archive of that name."""
    out = f"type=oci,dest={place}/{context}-{name}.tar"
    secret = f"id=s,src={place}/s"
    return ["build", "--timestamp", "0", "--secret", secret, "-t", "app", "-o", out, f"{place}/{context}"]


SAYS = {
    "nested": ("works on a copy of all its files", "no container can have a /proc of its own"),
    "nested-fuse": ("fuse-overlayfs makes the roots of steps writable", "no container can have a /proc of its own"),
    "nested-volume": ("no container can have a /proc of its own",),
    "nested-unmasked": (),
    "nested-user": ("works on a copy of all its files", "no container can have a /proc of its own"),
}


@pytest.mark.parametrize("name", SAYS)
def test_the_image_is_that_of_full_isolation(work: Path, name: str) -> None:
    if name == "nested-fuse" and shutil.which("fuse-overlayfs") is None:
        pytest.skip("needs fuse-overlayfs")
    context = "single" if name == "nested-user" else "whole"
    build, hello = (" ".join(options(work, one, name)) for one in (context, "hello"))
    done = cage(name, f'"$0" load -i {work}/busybox.tar; "$0" {build}; "$0" {hello}; "$0" fsck', work)
    assert done.returncode == 0, done.stdout + done.stderr
    for text in SAYS[name]:
        assert text in done.stderr
    assert len(SAYS[name]) == sum(text in done.stderr for text in ("no overlay can be", "a /proc of its own"))
    for one in (context, "hello"):
        assert look(work / f"{one}-{name}.tar") == look(work / f"{one}-full.tar")


@pytest.mark.parametrize("name", ["pod", "restricted"])
def test_what_refuses_namespaces_is_said(work: Path, name: str) -> None:
    """Whatever takes no container works all the same, and each message names the line of a pod that helps."""
    (work / "copies").mkdir(exist_ok=True)
    (work / "copies" / "Dockerfile").write_text("FROM busybox\nCOPY Dockerfile /f\n")
    script = f'"$0" doctor || echo status $?; "$0" load -i {work}/busybox.tar; "$0" build -q {work}/copies; '
    script += f'"$0" build --isolation=nested {work}/single || echo status $?'
    done = cage(name, script, work)
    refused = 1 if shutil.which("proot") else 2
    assert done.stdout.count("status") == refused, done.stdout + done.stderr
    assert "sha256:" in done.stdout
    for said in (done.stdout, done.stderr):
        assert "filter of system calls (seccomp) refuses" in said
        assert "`seccompProfile: {type: Unconfined}` of a pod's securityContext" in said


def test_full_isolation_can_be_asked_for(work: Path) -> None:
    """Messages say who refuses it, what allows it, and which rung works."""
    script = f'"$0" load -i {work}/busybox.tar; "$0" run --isolation=full busybox true || echo status $?'
    done = cage("nested", script, work)
    assert "status 125" in done.stdout
    assert "no overlay can be written to there (Invalid argument)" in done.stderr
    assert "a volume for the state directory (an emptyDir of the pod) allows it, and --isolation=nested" in done.stderr
    done = cage("nested-volume", script, work)
    assert "status 125" in done.stdout
    assert "proc at /proc: Operation not permitted" in done.stderr
    assert "`procMount: Unmasked` of a pod allows it, and --isolation=nested does without" in done.stderr
    done = cage("nested-unmasked", script.replace("run ", "run --network=none "), work)
    assert "status" not in done.stdout, done.stderr


def test_doctor_names_the_rung(work: Path) -> None:
    done = cage("nested", '"$0" doctor && "$0" doctor --json', work)
    assert done.returncode == 0, done.stdout + done.stderr
    text, _, data = done.stdout.partition("[\n")
    assert "--   isolation        nested: no container can have a /proc of its own" in text
    assert "-> `procMount: Unmasked` of a pod" in text
    assert [one["needed"] for one in json.loads(f"[{data}") if one["subject"] == "isolation"] == [False, False]


def test_limits_that_cannot_be_set_are_refused(work: Path) -> None:
    script = f'"$0" load -i {work}/busybox.tar; "$0" run --memory=64m busybox true || echo status $?'
    done = cage("nested-volume", script, work)
    assert "status 125" in done.stdout
    assert "setting limits: No such file or directory: /sys/fs/cgroup" in done.stderr
    assert "leave limits out" in done.stderr


REACH = """
echo $PPID >/sync/ready
while [ ! -s /sync/pid ]; do usleep 20000 2>/dev/null || sleep 0.02; done
for pid in $(cat /sync/pid); do
    tr '\\0' ' ' < /proc/$pid/environ && echo G""OT environ
    head -c 1 /proc/$pid/maps && echo G""OT maps
    head -c 1 /proc/$pid/mem && echo G""OT mem
    readlink /proc/$pid/fd/0 && echo G""OT link; head -c 1 /proc/$pid/fd/0 && echo G""OT fd
    ls /proc/$pid/root/ && echo G""OT root
    ls /proc/$pid/cwd/ && echo G""OT cwd
    (echo 900 > /proc/$pid/oom_score_adj) && echo G""OT oom_score_adj
    (echo 0 > /proc/$pid/clear_refs) && echo G""OT clear_refs
    kill -9 $pid
done
cat /proc/[0-9]*/cmdline | tr '\\0' ' '
mkdir /mnt; umount /proc/1; umount /proc; mount -t proc none /mnt && ls /mnt/1/ && echo G""OT proc
cat /proc/self/uid_map | tr -s ' '
ls -d /proc/self/fd /proc/meminfo /dev/stdout
"""


@pytest.mark.parametrize("options", ["", "--security=insecure"])
def test_what_a_step_reaches_of_its_builder(work: Path, options: str) -> None:
    """Nothing of those around it, those that begin later among them: not their memory, variables, files, nor signals.

    The /proc that it sees is that of the whole container around the builder.
    """
    (work / "reach").mkdir(exist_ok=True)
    (work / "reach" / "Dockerfile").write_text(f"FROM busybox\nRUN {options} <<'end'{REACH}end\n")
    script = rf"""
mkdir /state/sync; "$0" load -i {work}/busybox.tar
SECRET=lent "$0" build --allow security.insecure --build-arg PASSWORD=told -v /state/sync:/sync {work}/reach &
while [ ! -s /state/sync/ready ]; do sleep 0.02; done
SECRET=later sleep 100 & later=$!
tasks=$(grep -lE 'NSpid:.[0-9]+(.1)?$' /proc/[0-9]*/task/*/status | sed 's,/status,,; s,.*/,,')
echo $$ $later $tasks > /state/sync/pids && mv /state/sync/pids /state/sync/pid
wait %1; kill $later && echo ALIVE
"""
    done = cage("nested-volume", script, work)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "ALIVE" in said
    for secret in ("told", "GOT", "lent", "SECRET"):
        assert secret not in said, said
    for what in ("/environ: no such file", "/environ: Permission denied", "/proc/self/fd\n"):
        assert what in said


SIBLINGS = """\
FROM busybox AS held
RUN --mount=type=cache,target=/c while [ ! -e /c/looks ]; do sleep 0.02; done; HELD=$((1234+1)) sh -c \\
    'read -r pid rest </proc/self/stat; echo $pid >/c/pid; while [ ! -e /c/done ]; do sleep 0.02; done'; true
FROM busybox AS looks
RUN --mount=type=cache,target=/c touch /c/looks; while [ ! -s /c/pid ]; do sleep 0.02; done; pid=$(cat /c/pid); \\
    cat /proc/$pid/environ /proc/$pid/mem; cat /proc/$pid/comm; touch /c/done
FROM scratch
COPY --from=held /etc/passwd /1
COPY --from=looks /etc/passwd /2
"""


def test_steps_do_not_reach_each_other(work: Path) -> None:
    """Both are root of the same id there, and see the same /proc: each has a user namespace of its own."""
    (work / "siblings").mkdir(exist_ok=True)
    (work / "siblings" / "Dockerfile").write_text(SIBLINGS)
    done = cage("nested-volume", f'"$0" load -i {work}/busybox.tar; "$0" build --jobs 2 {work}/siblings', work)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "/environ': Permission denied" in said
    assert "/mem': Permission denied" in said
    assert "HELD=1235" not in said


def test_nested_isolation_can_be_asked_for(busybox: Pybuild) -> None:
    """Of a root who may do all too; what it makes is what a user namespace lets it make, and has a key of that."""
    script = "cat /proc/self/uid_map; ls -A /proc/1; echo x >/proc/self/comm; mknod /n c 1 3 || echo no"
    done = busybox.run("run", "--isolation=nested", "--network=none", "busybox", "sh", "-c", script)
    assert done.stdout.split() == ["0", "0", "4294967294", "no"]
    assert "Read-only file system" in done.stderr
    assert "warning: --isolation=nested: steps see the /proc of who starts them" in done.stderr
    context = busybox.context("FROM busybox\nRUN mknod /n c 1 3 2>/dev/null && echo made >/said || echo no >/said\n")
    for isolation, outcome, said in (("full", "RAN", "made"), ("nested", "RAN", "no"), ("container", "HIT", "made")):
        assert busybox.build(context, f"--isolation={isolation}").outcomes() == [outcome]
        assert busybox.sh("cat /said") == f"{said}\n"


def test_a_root_who_may_make_no_networks_has_that_around_it(busybox: Pybuild) -> None:
    lesser = replace(busybox, command=("setpriv", "--bounding-set=-net_admin", "--inh-caps=-all", PYBUILD), warm=None)
    done = lesser.run("run", "busybox", "cat", "/proc/net/dev")
    assert "no network of its own for the container, it uses the host's" in done.stderr
    assert len(done.stdout.splitlines()) > 3
    assert "Operation not permitted" in lesser.run("run", "--isolation=full", "busybox", "true", status=125).stderr


def test_an_image_with_whiteouts_is_loaded(work: Path) -> None:
    """On an overlay no device 0:0 can be made; the other form hides the same, and is a whiteout in an archive again."""
    script = f'"$0" load -q -i {work}/single-full.tar; "$0" run app sh -c "ls -d /bin/vi /bin/ls /home || true"; '
    script += f'"$0" save --format oci-archive -o {work}/again.tar app && "$0" fsck'
    done = cage("nested", script, work)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n/bin/ls\n" in done.stdout
    assert done.stderr.count("No such file or directory") == 3  # and /dev/fuse is missing
    assert look(work / "again.tar") == look(work / "single-full.tar")
