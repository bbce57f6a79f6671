"""Builds in place, in a pod that allows neither namespaces nor mounts (tests/cages.py)."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.commands import executor_context as executor
from tests.git_server import repo, server
from tests.truth.images import Failure, differences
from tests.truth.shell import outcome, projects, script
from tests.truth.world import BASE, write_files

from .conftest import PYBUILD
from .test_cages import cage, fill, look, options

if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["repo", "server"]

pytestmark = [pytest.mark.root]
SAID = "warning: --isolation=in-place: steps run in the root around"


@pytest.fixture(scope="module")
def work() -> Iterator[Path]:
    """Give a directory with what `fill` makes, and in `executor` the root of the executor image."""
    with tempfile.TemporaryDirectory(prefix="pybuild-in-place-") as directory:
        place = Path(directory)
        fill(place)
        archive = place / "executor.tar"
        made = ["executor-image", "-q", "--shell", "-o", f"type=tar,dest={archive}"]
        subprocess.run([PYBUILD, *made], check=True, env={"PYBUILD_ROOT": str(place / "full"), "PATH": "/usr/bin:/bin"})
        with tarfile.open(archive) as tar:
            tar.extractall(place / "executor", filter="fully_trusted")
        archive.unlink()
        yield place


def pod(script: str, work: Path, name: str = "pod", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a container of the executor image, with the directory `out` of the machine."""
    out = work / "out"
    out.mkdir(exist_ok=True)
    return cage(name, script, out, root=work / "executor", **variables)


def lend(work: Path, *names: str) -> Path:
    """Put copies of what is there into the directory that containers share with the machine."""
    out = work / "out"
    out.mkdir(exist_ok=True)
    for name in ("busybox.tar", *names):
        if (work / name).is_dir():
            shutil.copytree(work / name, out / name, dirs_exist_ok=True)
        else:
            shutil.copy(work / name, out / name)
    return out


def write(work: Path, name: str, text: str) -> Path:
    """Write a context with a build file."""
    context = work / "out" / name
    context.mkdir(parents=True, exist_ok=True)
    (context / "Dockerfile").write_text(text)
    return context


def test_the_image_is_that_of_full_isolation(work: Path) -> None:
    out = lend(work, "whole", "single", "hello", "s")
    names = "whole", "hello", "single"
    builds = "; ".join(f"pybuild {shlex.join(options(out, one, 'pod'))}" for one in names)
    on_a_volume = f"export PYBUILD_ROOT={out}/state; pybuild load -q -i {out}/busybox.tar; pybuild "
    on_a_volume += shlex.join(options(out, "whole", "volume"))
    done = pod(f"pybuild load -i {out}/busybox.tar; {builds}; pybuild fsck; ls -A /; {on_a_volume}", work)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.count(SAID) == 4
    assert look(out / "whole-volume.tar") == look(work / "whole-full.tar")
    assert "/etc/hosts is not kept: each container gets its own" in done.stderr
    for one in names:
        assert look(out / f"{one}-pod.tar") == look(work / f"{one}-full.tar")
    assert {"pybuild", "state", "app", "n"} <= {*done.stdout.split()}
    assert not {"home", "f", "b", "t"} & {*done.stdout.split()}


PROJECTS = 8


def test_images_of_random_projects(work: Path) -> None:
    """Whatever succeeds is the same; what a step writes to a read-only mount is refused, where root could do it.

    Names of one file of the layers below are files of their own, so that `cp` makes one the other's copy, not refuses.
    """
    out, builds = lend(work), projects(PROJECTS, start=3)
    write(work, "base", BASE)
    for number, build in enumerate(builds):
        (out / str(number)).mkdir()
        write_files(str(out / str(number)), build.files)
        (out / f"{number}.file").write_text(build.text)
        write(work, f"{number}.onb", build.base)
    env = {"PYBUILD_ROOT": str(work / "oracle"), "PATH": "/usr/bin:/bin"}
    first = [f"load -q -i {out}/busybox.tar", f"build -q -t base {out}/base"]
    command = ["sh", "-euc", script(builds, out, "full", PYBUILD, first)]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as full:
        done = pod(script(builds, out, "pod", "pybuild", first), work)
        said = b"".join(full.communicate())
    assert full.returncode == 0, said
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("clean\n")
    compared = 0
    for number, build in enumerate(builds):
        found, wanted = (outcome(out, number, kind, build.epoch) for kind in ("pod", "full"))
        if isinstance(found, Failure) and "read-only to it" in found.error:
            continue
        found_differences = [one for one in differences(found, wanted, ()) if " names: " not in one]
        assert not found_differences, "\n".join([str(number), *found_differences, build.text])
        compared += not isinstance(wanted, Failure)
    assert compared > PROJECTS // 3


def test_the_next_program_goes_on_with_the_root(work: Path) -> None:
    """What somebody has changed meanwhile is put right, and what the same chain has is not written again.

    What was there before stays, and is in no image.
    """
    out = lend(work)
    text = "FROM busybox\nRUN mkdir /a && echo 1 >/a/b && echo 2 >/a/c\n"
    write(work, "first", text)
    write(work, "second", f"{text}RUN ls -R /a /etc /home >/all; cat /a/* >>/all; stat -c %i /a/b >/inode\n")
    script = f"""
mkdir -p /mine/inner /empty; echo my own >/mine/inner/file; echo my own >/other
pybuild load -q -i {out}/busybox.tar; pybuild -q {out}/first; cat /mine/inner/file /other; ls -d /empty || echo no empty
rm -r /home /a/c; echo changed >>/etc/passwd; echo new >/a/new; stat -c %i /a/b
pybuild -q -t second {out}/second; pybuild cat second:/all; pybuild cat second:/inode; pybuild cat second:/etc/passwd
"""
    done = pod(script, work)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert {"1", "2", "c", "/home:"} <= {*lines}
    assert lines.count("my own") == 2
    assert "no empty" in lines
    assert "new" not in lines
    assert "changed" not in done.stdout
    inodes = [line for line in lines if re.fullmatch(r"\d{3,}", line)]
    assert len(inodes) == 2
    assert inodes[0] == inodes[1]


def test_an_interrupted_command_is_cleaned_up_after(work: Path) -> None:
    """Its processes end with the builder, a cache is where it was, and nothing that it did is in the next image."""
    out = lend(work, "s")
    context = write(
        work,
        "interrupted",
        "FROM busybox\nRUN --mount=type=cache,target=/c echo 1 >/c/kept\n"
        "RUN --mount=type=cache,target=/c --mount=type=secret,id=s,target=/secret echo x >/left; rm -r /home; "
        f"(trap '' TERM HUP INT; setsid sleep 4321 & setsid setsid sleep 4321 &); touch {out}/begun; sleep 4321\n",
    )
    script = f"""
pybuild load -q -i {out}/busybox.tar; pybuild --secret id=s,src={out}/s {context} & builder=$!
while [ ! -e {out}/begun ]; do sleep 0.05; done
ls /secret /c; kill -9 $builder; wait $builder || true
while ps | grep -q 'sleep 432[1]'; do sleep 0.05; done; rm {out}/begun; echo gone
printf 'FROM busybox\\nRUN --mount=type=cache,target=/c ls / /c >/all\\n' >{context}/Dockerfile
pybuild -t next {context}; pybuild cat next:/all
"""
    done = pod(script, work)
    assert done.returncode == 0, done.stdout + done.stderr
    before, _, after = done.stdout.partition("gone\n")
    assert "/secret" in before
    assert {"home", "kept"} <= {*after.split()}
    assert not {"left", "secret"} & {*after.split()}
    assert "an earlier command in this root was interrupted" in done.stderr


REACH = """
for pid in $(cat /tmp/pids); do
    tr '\\0' ' ' </proc/$pid/environ && echo G""OT environ
    head -c 1 /proc/$pid/mem && echo G""OT mem
    readlink /proc/$pid/fd/0 && echo G""OT fd
done
cat /proc/[0-9]*/cmdline | tr '\\0' ' '
mkdir -p /x; mount -t tmpfs none /x && echo G""OT mount; true
"""


def test_what_a_step_reaches_of_its_builder(work: Path) -> None:
    """Root reaches files, and no process of it; another user not even these. Whatever it leaves running is ended."""
    out = lend(work, "s")
    text = f"""\
FROM busybox
RUN ps -o pid,comm | awk '/pybuild|ld.so|python/ {{print $1}}' >/tmp/pids; wc -l </tmp/pids >/many
RUN <<'end'{REACH}end
RUN (setsid sleep 1234 &) ; (trap '' TERM HUP; sh -c 'sleep 1234 & exec setsid sleep 1234' &) ; sleep 0.1
RUN ps -o args | grep 'sleep 12[3]4' >/alive; true
RUN echo 'app:x:1000:1000::/:/bin/sh' >>/etc/passwd
USER app
RUN --mount=type=secret,id=s,target=/hidden cat /hidden; ls /pybuild/state /state/pybuild /pybuild/.docker /.pybuild; :
"""
    context = write(work, "reach", text)
    build = f"pybuild --progress=plain -t reach --build-arg PASSWORD=told --secret id=s,src={out}/s {context}\n"
    (out / "script").write_text(f"export SECRET=lent\n{build}pybuild cat reach:/alive\n")
    done = pod(f"pybuild load -q -i {out}/busybox.tar; . {out}/script", work)
    said = done.stdout + done.stderr
    assert done.returncode == 0
    assert said.count("Permission denied") > 6, said
    for path in ("/hidden", "/pybuild/state", "/state/pybuild", "/pybuild/.docker", "/.pybuild"):
        assert f"can't open '{path}': Permission denied" in said, said
    for secret in ("told", "lent", "GOT", "sleep 1234\n"):
        assert secret not in said, said


REFUSED = {
    "RUN --network=none true": "--network=none cannot be had with --isolation=in-place",
    "RUN --mount=target=/c,from=busybox echo x >/c/bin/new": "has written to /c, which is read-only to it",
    "WORKDIR {out}\nRUN true": "the working directory {out} is left alone in place",
    "COPY Dockerfile {out}/inner\nRUN true": "the image has files at {out}",
    "RUN --mount=type=tmpfs,target={out} true": "nothing can be put at {out} in place: it is a mount",
}


def test_what_cannot_be_had_in_place(work: Path) -> None:
    """An error says so, and the root is in order for what comes next."""
    out = lend(work)
    script = f"pybuild load -q -i {out}/busybox.tar; "
    for number, instruction in enumerate(REFUSED):
        context = write(work, f"refused-{number}", f"FROM busybox\n{instruction.format(out=out)}\n")
        script += f"pybuild {context} && echo DONE {number}; "
    context = write(work, "well", "FROM busybox\nRUN ls / >/all\n")
    script += f"pybuild -q -t well {context}; pybuild cat well:/all; "
    for option in ("--device /dev/null", "-v /etc:/e", "--cap-add SYS_ADMIN --shm-size 1g"):
        script += f"pybuild run {option} busybox true || true; "
    done = pod(script, work)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "DONE" not in done.stdout
    for message in REFUSED.values():
        assert message.format(out=out) in done.stderr
    assert "--device cannot be had with --isolation=in-place" in done.stderr
    assert "/etc would be replaced by the image" in done.stderr
    assert "--cap-add: CAP_SYS_ADMIN cannot be had" in done.stderr
    assert "--shm-size has no effect" in done.stderr
    assert "\nc\n" not in done.stdout


def test_where_it_is_refused(work: Path) -> None:
    """It is asked for, the program lies apart, root has what it takes, and one program works in a root at a time."""
    out = lend(work)
    context = write(work, "held", f"FROM busybox\nRUN touch {out}/in; while [ -e {out}/in ]; do sleep 0.05; done\n")
    script = f"""
pybuild load -q -i {out}/busybox.tar; pybuild run busybox true || echo status $?
export BUILDAH_ISOLATION=in-place; pybuild -q {context} & while [ ! -e {out}/in ]; do sleep 0.05; done
pybuild run busybox true || echo status $?; rm {out}/in; wait
"""
    done = pod(script, work, BUILDAH_ISOLATION="")
    assert done.stdout.count("status 125") == 1, done.stdout + done.stderr
    assert "steps run below proot" in done.stderr  # which the image has: without being asked it replaces no root
    assert "another pybuild works in place in this root" in done.stderr
    done = pod(f"pybuild load -q -i {out}/busybox.tar; pybuild run busybox true || echo status $?", work, "restricted")
    assert "status 125" in done.stdout, done.stderr
    assert "`runAsUser: 0` of a pod's securityContext allows it" in done.stderr
    script = f'"$0" load -q -i {out}/busybox.tar; "$0" run --isolation=in-place busybox true || echo status $?; ls /usr'
    done = cage("pod", script, out)
    assert "status 125" in done.stdout
    assert "bin" in done.stdout.split()
    assert "this program needs /" in done.stderr
    assert "`pybuild executor-image` makes an image in which it lies apart" in done.stderr


def test_what_was_made_in_place_is_no_hit_elsewhere(work: Path) -> None:
    """Nor the other way round: a RUN may see the container around, a COPY cannot."""
    out = lend(work)
    context = write(work, "shared", "FROM busybox\nCOPY Dockerfile /\nRUN echo 1 >/one\n")
    cache = f"type=local,dest={out}/cache"
    done = pod(f"pybuild load -q -i {out}/busybox.tar; pybuild -q --cache-to {cache} {context}", work)
    assert done.returncode == 0, done.stdout + done.stderr
    env = {"PYBUILD_ROOT": str(work / "shared"), "PATH": "/usr/bin:/bin"}
    subprocess.run([PYBUILD, "load", "-q", "-i", str(work / "busybox.tar")], check=True, env=env)
    words = [PYBUILD, "--progress=plain", "--cache-from", f"type=local,src={out}/cache", str(context)]
    shown = subprocess.run(words, check=True, env=env, capture_output=True, text=True).stderr
    assert "#2 CACHED" in shown
    assert "#3 DONE" in shown


def test_doctor(work: Path) -> None:
    done = pod("pybuild doctor; pybuild doctor --json", work)
    assert done.returncode == 0, done.stdout + done.stderr
    text, _, data = done.stdout.partition("[\n")
    assert "--   isolation       in-place: steps run in the root around" in text
    assert "ok   in place        commands can run in this root" in text
    found: list[dict[str, Any]] = json.loads(f"[{data}")
    assert {one["subject"]: one["needed"] for one in found} == {
        "Python": True,
        "user namespace": False,
        "isolation": False,
        "in place": True,
    }


def test_the_executor_image(work: Path, server: str, repo: Path) -> None:
    """It fetches repositories by git; to its entry point options alone are kaniko's, and a command is pybuild's."""
    out = lend(work)
    write(work, "code", "FROM busybox\nCOPY --from=code sub/file /\nRUN cat /file >/copy\n")
    entry = shlex.join(executor.entry())
    script = f"""
pybuild load -q -i {out}/busybox.tar; pybuild -q -t code --build-context code={server}/app.git#v1 {out}/code
pybuild cat code:/copy; echo; {entry} version
{entry} --no-such || echo status $?; {entry} build --no-such || echo status $?
/kaniko/executor --no-such || echo status $?
"""
    done = pod(script, work, LD_LIBRARY_PATH="/pybuild/lib")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\none\npybuild " in done.stdout
    assert re.findall(r"^status (\d)$", done.stdout, re.MULTILINE) == ["1", "2", "1"]
    config = subprocess.run(
        [PYBUILD, "inspect", "--format", "{{json .Config}}", "pybuild-executor"],
        check=True,
        env={"PYBUILD_ROOT": str(work / "full"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
    )
    found = json.loads(config.stdout)
    assert found["Entrypoint"] == executor.entry()
    assert {"BUILDAH_ISOLATION=in-place", "PATH=/pybuild/bin", "LD_LIBRARY_PATH=/pybuild/lib"} <= {*found["Env"]}


def test_no_file_of_an_image_reaches_the_program(work: Path) -> None:
    out = lend(work)
    shutil.copytree("/usr/lib/locale/C.utf8", out / "C.utf8")
    text = f"""\
FROM busybox
RUN mkdir -p /usr/lib/locale && cp -r {out}/C.utf8 /usr/lib/locale/
RUN mkdir -p /lib64 /lib/x86_64-linux-gnu /usr/lib/python3.11 /etc/ssl
RUN for f in /lib64/ld-linux-x86-64.so.2 /lib/x86_64-linux-gnu/libc.so.6 /etc/ld.so.cache /usr/lib/python3.11/os.py \\
    /etc/ssl/openssl.cnf; do echo no >$f; done
RUN echo /lib/x86_64-linux-gnu/libc.so.6 >/etc/ld.so.preload
RUN echo 1 >/one
"""
    context = write(work, "broken", text)
    script = f"pybuild load -q -i {out}/busybox.tar; pybuild -q -t broken {context}; pybuild cat broken:/one; "
    done = pod(f"{script} pybuild run broken echo well; pybuild -q --no-cache {context}", work)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1\nwell\n" in done.stdout
    assert "ld.so" not in done.stderr


def test_the_executor_image_where_nobody_is_root(work: Path) -> None:
    """It has PRoot with it, where this machine has, for pods of the policy "restricted"."""
    out = lend(work)
    context = write(work, "unprivileged", "FROM busybox\nRUN id -u >/id && chmod 0700 /bin && ls / >/names\n")
    out.chmod(0o777)
    script = f"""
export PYBUILD_ROOT={out}/own HOME={out} TMPDIR={out}
pybuild load -q -i {out}/busybox.tar; pybuild -t app {context}; pybuild cat app:/id app:/names; pybuild layers app
"""
    try:
        done = pod(script, work, "restricted", BUILDAH_ISOLATION="proot", LD_LIBRARY_PATH="/pybuild/lib")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "\n0\n" in done.stdout
        assert "pybuild" not in done.stdout.split()  # the step has seen its own root
    finally:
        shutil.rmtree(out / "own", ignore_errors=True)
