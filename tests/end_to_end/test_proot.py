"""Builds below PRoot, in a pod of an ordinary user that allows neither namespaces nor mounts (tests/cages.py)."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.truth.images import Failure, differences
from tests.truth.shell import outcome, projects, script
from tests.truth.world import BASE, write_files

from .conftest import PYBUILD
from .test_cages import cage, fill, look, options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.truth.inputs import Build

pytestmark = [pytest.mark.root, pytest.mark.skipif(shutil.which("proot") is None, reason="needs proot")]
SAID = "steps run below proot, slowly"

BUILD = """\
FROM busybox AS made
RUN echo 'app:x:1000:1000::/:/bin/sh' >> /etc/passwd && mkdir -m 750 /app && mkdir -m 1777 /open
COPY --chown=7:8 --chmod=4755 f /f
COPY --chown=1000:1000 --chmod=0 f /app/f
COPY --chown=7:8 f /x/f
RUN --mount=type=cache,target=/own echo x >> /own/n && wc -l < /own/n > /n && cat /app/f > /read
RUN rm -r /bin/vi /home && mkdir -p /d/e && ln /f /d/g && rm /f && ln -s ../n /d/l && mkfifo /d/p && echo 1 >> /n
RUN rm -r /d && mkdir /d && echo new > /d/g && echo '127.0.0.1 x' >> /etc/hosts && echo more >> /x/f && echo > /x/new
RUN --mount=type=bind,from=busybox,target=/b,rw --mount=type=secret,id=s --mount=type=tmpfs,target=/t \\
    rm /b/bin/ls && test ! -e /b/bin/ls && cp /run/secrets/s /t/s && wc -c < /t/s > /size
RUN --mount=target=/s/y --mount=type=cache,target=/root/.cache/z cat /s/y/f > /root/.cache/beside && mv /x /moved
RUN chmod 0 /n && chmod 0 /app && mkdir /shut && echo 1 > /shut/in && chmod 555 /shut / && chmod 111 /read
RUN echo 2 > /shut/new && cat /n /read > /all && rm /shut/in && chmod 700 /app && chmod 4755 /bin/busybox
USER app
WORKDIR /open
RUN id -u > who && id -g >> who && mkdir of && ln who of/who
RUN <<end
read -r name < /proc/self/comm
echo "$name" > /open/comm
end
FROM busybox
COPY --from=made /d /d
COPY --from=made /n /size /read /
COPY --from=made --chown=5 /app /app
RUN ls -R /d /app /n /size > /all
"""


@pytest.fixture(scope="module")
def work() -> Iterator[Path]:
    """Give a directory with what `fill` makes, and the image of BUILD."""
    with tempfile.TemporaryDirectory(prefix="pybuild-proot-") as directory:
        place = Path(directory)
        fill(place)
        context = place / "plain"
        context.mkdir()
        (context / "Dockerfile").write_text(BUILD)
        (context / "f").write_text("f\n")
        env = {**os.environ, "PYBUILD_ROOT": str(place / "full")}
        subprocess.run([PYBUILD, *options(place, "plain", "full")], check=True, env=env, capture_output=True)
        yield place


def write(work: Path, name: str, text: str) -> Path:
    """Write a context with a build file."""
    context = work / name
    context.mkdir(exist_ok=True)
    (context / "Dockerfile").write_text(text)
    return context


@pytest.mark.parametrize("name", ["restricted", "pod"])
def test_the_image_is_that_of_full_isolation(work: Path, name: str) -> None:
    """An ordinary user's, whose disk holds no owners, is; what a step gives away is lost, and that is said."""
    names = "plain", "hello"
    builds = "; ".join(f'"$0" {shlex.join(options(work, one, name))}' for one in names)
    script = f'"$0" load -q -i {work}/busybox.tar; {builds}; "$0" fsck'
    done = cage(name, script, work)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.count(SAID) == 2
    lost = done.stderr.count("there are no subordinate ids here: owners that a RUN gives to files are lost")
    assert lost == (2 if name == "restricted" else 0)
    assert "/etc/hosts is not kept: each container gets its own" in done.stderr
    for one in names:
        assert look(work / f"{one}-{name}.tar") == look(work / f"{one}-full.tar")


PROJECTS = 11
_OWNERS = re.compile(r"^USER|(?<!--)chown|%u", re.MULTILINE)
"""Where steps change owners or ask for them, they learn something else: docs/sandbox.md lists that."""
_SETS_IDS = re.compile(r"mode: 0o(\d{3}) \| 0o4\1$")
"""The kernel takes that from a file that anybody but root writes to."""


def fitting(number: int) -> list[Build]:
    """Give projects in which nobody but root owns what steps see."""
    found = {one.text: one for one in projects(50, start=11) if not _OWNERS.search(one.text + one.base)}
    return [one for one in found.values() if one.text.count("RUN") > 1][:number]


def test_images_of_random_projects(work: Path) -> None:
    out, builds = work, fitting(PROJECTS)
    full_env = {"PYBUILD_ROOT": str(work / "full"), "PATH": "/usr/bin:/bin"}
    subprocess.run([PYBUILD, "-q", "-t", "base", str(write(work, "base", BASE))], check=True, env=full_env)
    subprocess.run([PYBUILD, "save", "-o", str(work / "base.tar"), "base"], check=True, env=full_env)
    for number, build in enumerate(builds):
        (out / str(number)).mkdir()
        write_files(str(out / str(number)), build.files)
        for path in (out / str(number)).rglob("*"):
            os.chown(path, 1000, 1000, follow_symlinks=False)
        (out / f"{number}.file").write_text(build.text)
        write(work, f"{number}.onb", build.base)
    env = {"PYBUILD_ROOT": str(work / "oracle"), "PATH": "/usr/bin:/bin"}
    first = [f"load -q -i {out}/{name}.tar" for name in ("busybox", "base")]
    command = ["sh", "-euc", script(builds, out, "full", PYBUILD, first)]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as full:
        done = cage("restricted", script(builds, out, "restricted", '"$0"', first), work)
        said = b"".join(full.communicate())
    assert full.returncode == 0, said
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("clean\n")
    compared = 0
    for number, build in enumerate(builds):
        found, wanted = (outcome(out, number, kind, build.epoch) for kind in ("restricted", "full"))
        if isinstance(found, Failure) and re.search("read-only to it|context .* cannot be read", found.error):
            continue
        found_differences = [one for one in differences(found, wanted, ()) if not _SETS_IDS.search(one)]
        assert not found_differences, "\n".join([str(number), *found_differences, build.text])
        compared += not isinstance(wanted, Failure)
    assert compared > 3


ENDS = """\
sleep 30 & (setsid sleep 30 &); exit 3
kill -9 $$
kill -TERM $$
kill -0 $PPID && trap 'exit 9' USR1 && kill -USR1 $$ && exit 1
for p in /proc/[0-9]*; do read -r n < $p/comm; [ "$n" != proot ] || kill -9 ${p#/proc/}; done; sleep 20; exit 4
"""


def test_how_commands_end(work: Path) -> None:
    """Status and signal are the command's, and no process is left of it; nor where it has killed the tracer."""
    script = f"""
"$0" load -q -i {work}/busybox.tar >/dev/null
while read -r line; do "$0" run busybox sh -c "$line" </dev/null 2>/state/said || echo "$?"; done <{work}/ends
ps ax | grep -v grep | grep 'sleep [2-9]' || echo none left
for name in nothing /etc/nothing /etc/passwd; do "$0" run busybox "$name" 2>&1 || echo "$?"; done
"$0" run --env LD_PRELOAD=/x --env LD_LIBRARY_PATH=/y -w /made/here busybox sh -c 'pwd; env; ls -A /dev; id -u' 2>&1
"$0" run -u 7:8 busybox sh -c 'id; touch /tmp/x; stat -c %u:%g /tmp/x; cat; hostname' </etc/hostname 2>&1
"""
    (work / "ends").write_text(ENDS)
    done = cage("restricted", script, work)
    lines = [line for line in done.stdout.splitlines() if "warning:" not in line]
    assert lines[:6] == ["3", "137", "143", "9", "137", "none left"], done.stdout + done.stderr
    assert lines[6:12] == [
        "pybuild: nothing: command not found",
        "127",
        "pybuild: /etc/nothing: no such file",
        "127",
        "pybuild: /etc/passwd: Permission denied",
        "126",
    ]
    assert lines[12] == "/made/here"
    environment = {line for line in lines if "=" in line and not line.startswith("uid=")}
    assert environment - {"SHLVL=1"} == {
        "HOME=/root",
        "LD_LIBRARY_PATH=/y",
        "LD_PRELOAD=/x",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PWD=/made/here",
    }
    names = set(lines[lines.index("fd") : lines.index("zero") + 1])
    assert names <= {
        "fd",
        "full",
        "null",
        "ptmx",
        "pts",
        "random",
        "shm",
        "stderr",
        "stdin",
        "stdout",
        "tty",
        "urandom",
        "zero",
    }
    assert {"uid=7 gid=8", "7:8"} <= {*lines}


REACH = """
for pid in $(ls /proc | grep '^[0-9]'); do
    read -r name </proc/$pid/comm || continue
    case $name in python*|pybuild*) ;; *) continue;; esac
    tr '\\0' ' ' </proc/$pid/environ && echo G""OT environ
    head -c 1 /proc/$pid/mem && echo G""OT mem
    head -c 1 /proc/$pid/maps && echo G""OT maps
    readlink /proc/$pid/fd/0 && echo G""OT fd
    ls /proc/$pid/root/ && echo G""OT root
    ls /proc/$pid/cwd/ && echo G""OT cwd
    (echo 900 >/proc/$pid/oom_score_adj) && echo G""OT oom_score_adj
done
cat /proc/[0-9]*/cmdline | tr '\\0' ' '
ls /state /work; cat /state/pybuild/secret; true
"""


def test_what_a_step_reaches_of_its_builder(work: Path) -> None:
    """No memory, variable, descriptor or argument of a process of the builder, and by its path no file of the pod."""
    context = write(work, "reach", f"FROM busybox\nRUN <<'end'{REACH}end\n")
    build = f'export SECRET=borrowed\n"$0" --progress=plain --no-cache --build-arg PASSWORD=told {context}'
    script = f'"$0" load -q -i {work}/busybox.tar; echo kept >/state/pybuild/secret && . {work}/build'
    (work / "build").write_text(build)
    done = cage("restricted", script, work)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert said.count("ermission denied") > 6, said
    assert "/state: No such file" in said
    for secret in ("told", "borrowed", "GOT", "kept\n"):
        assert secret not in said.replace("is not kept", ""), said


def test_what_is_said(work: Path) -> None:
    """A rung that is forced and refused names this one; where the program is missing, how to get it is said."""
    context = write(work, "none", "FROM busybox\nRUN --network=none true\n")
    write(work, "write", "FROM busybox\nRUN --mount=target=/c,from=busybox echo x >/c/bin/new\n")
    script = f"""
"$0" doctor && "$0" doctor --json; "$0" load -q -i {work}/busybox.tar
"$0" run --isolation=full busybox true || echo status $?
"$0" {context} || echo status $?; "$0" {work}/write || echo status $?
"""
    done = cage("restricted", script, work)
    assert done.stdout.count("status 125") == 3, done.stdout + done.stderr
    text, _, data = done.stdout.partition("[\n")
    assert "ok   proot           commands run below /" in text
    assert "--   isolation       proot: " in text
    found = json.loads(f"[{data.partition(']')[0]}]")
    assert {one["subject"]: one["needed"] for one in found if not one["works"]} == {
        "user namespace": False,
        "isolation": False,
    }
    assert "allows them, and --isolation=proot does without; see `pybuild doctor`" in done.stderr
    assert "--network=none cannot be had with --isolation=proot" in done.stderr
    assert "has written to /c, which is read-only to it" in done.stderr
    script = f'rm "$(command -v proot)"; "$0" load -q -i {work}/busybox.tar; "$0" doctor || echo status $?; '
    script += "; ".join(f'"$0" run {one} busybox true || echo status $?' for one in ("", "--isolation=proot"))
    done = cage("pod", script, work)
    assert done.stdout.count("status 1") == 3, done.stdout + done.stderr
    assert "--isolation=proot does without once it is installed (apt-get install proot)" in done.stderr
    assert "needs the program proot, which is not installed\n  hint: apt-get install proot" in done.stderr
    assert "FAIL proot" in done.stdout


def test_an_interrupted_command_leaves_nothing(work: Path) -> None:
    """Its processes end with the builder, what it was lent goes, and its layer is no hit for full isolation."""
    context = write(
        work,
        "interrupted",
        "FROM busybox\nRUN echo 1 >/first\nRUN --mount=type=secret,id=s,target=/secret echo x >/left; rm -r /home; "
        "(trap '' TERM HUP INT; setsid sleep 4321 & setsid setsid sleep 4321 &); sleep 4321\n",
    )
    cache = f"type=local,dest={work}/cache"
    script = f"""
"$0" load -q -i {work}/busybox.tar; "$0" --secret id=s,src={work}/s {context} & builder=$!
while [ "$(ps ax | grep -c 'sleep 432[1]')" -lt 3 ]; do sleep 0.05; done
kill -9 $builder; wait $builder || true
while ps ax | grep -q 'sleep 432[1]'; do sleep 0.05; done
printf 'FROM busybox\\nRUN echo 1 >/first\\nRUN ls / >/all\\n' >{context}/Dockerfile
"$0" -t next --cache-to {cache} {context}; "$0" cat next:/all
ls -R /state/pybuild/sandbox/proot/1 | grep -c lent || true
"""
    (work / "interrupted").chmod(0o777)
    (work / "interrupted" / "Dockerfile").chmod(0o666)
    (work / "cache").mkdir(mode=0o777)
    (work / "cache").chmod(0o777)
    done = cage("restricted", script, work)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"home", "first", "0"} <= {*done.stdout.split()}
    assert not {"left", "secret"} & {*done.stdout.split()}
    env = {"PYBUILD_ROOT": str(work / "full"), "PATH": "/usr/bin:/bin"}
    words = [
        PYBUILD,
        "--progress=plain",
        "--network=none",
        "--cache-from",
        f"type=local,src={work}/cache",
        str(context),
    ]
    shown = subprocess.run(words, check=True, env=env, capture_output=True, text=True).stderr
    assert "#2 DONE" in shown
    assert "#3 DONE" in shown
