"""Root's containers in a user namespace: other ids on the machine, the same image."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.conftest import PYBUILD, Pybuild

if TYPE_CHECKING:
    from pathlib import Path

    from tests.end_to_end.conftest import OrdinaryUser

pytestmark = pytest.mark.root

MAP = "--userns-uid-map=0:3000000:65536"
TEXT = """
FROM busybox
RUN mkdir /gone /gone/below && touch /gone/old && echo app:x:77:78::/:/bin/sh >> /etc/passwd && touch /theirs \
 && chown 5:6 /theirs
COPY --chown=77:78 file /home/
RUN --mount=type=cache,target=/cache --mount=type=secret,id=s,uid=77,gid=78 \
 echo x >> /theirs && rm -r /gone && mkdir /gone && touch /made && chown 7:8 /made && chmod 6755 /made \
 && touch /cache/mine && stat -c %u:%g /theirs /home/file /run/secrets/s /cache/mine > /owners \
 && tr -s ' ' < /proc/self/uid_map >&2
USER app
RUN id -u > /tmp/id && cat /run/secrets/s 2>/dev/null || cat /home/file >> /tmp/id
"""


def test_the_image_is_the_same(busybox: Pybuild, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    context = busybox.context(TEXT, file="content\n")
    options = ["--secret", f"id=s,src={secret}"]
    assert " 0 3000000 65536" in busybox.build(context, MAP, *options).shown
    with_one = busybox.run("images", "--format=json").stdout
    assert busybox.sh("cat /owners /tmp/id").split() == ["5:6", "77:78", "77:78", "0:0", "77", "content"]
    assert busybox.sh("ls -ln /made | cut -c-20; ls /gone").split()[0].startswith("-rwsr-sr-x")
    assert busybox.build(context, MAP, *options).outcomes() == ["HIT"] * 4
    assert busybox.build(context, *options).outcomes() == ["RAN", "HIT", "RAN", "RAN"]
    assert "3000000" not in busybox.build(context, "--no-cache", *options).shown
    again = busybox.run("images", "--format=json").stdout
    assert _ids(again) == _ids(with_one)
    assert "clean" in busybox.run("fsck").stdout


def _ids(text: str) -> list[str]:
    import json

    return sorted(image["id"] for image in json.loads(text))


def test_what_root_there_may_do(busybox: Pybuild, tmp_path: Path) -> None:
    """Less than root here: files of the machine are not its, nor are devices, and privileges end in the namespace."""
    (tmp_path / "volume").mkdir()
    script = "stat -c %u /vol; touch /vol/x 2>/dev/null || echo kept; mknod /n c 1 3 2>/dev/null || echo no; id -u"
    said = busybox.run("run", MAP, "-v", f"{tmp_path / 'volume'}:/vol", "busybox", "/bin/sh", "-c", script).stdout
    assert said.split() == ["65534", "kept", "no", "0"]
    assert os.listdir(tmp_path / "volume") == []


def test_ids_that_somebody_holds(busybox: Pybuild, ordinary_user: OrdinaryUser) -> None:
    option = f"--userns-uid-map-user={ordinary_user.name}"
    said = busybox.run("run", option, "busybox", "cat", "/proc/self/uid_map", "/proc/self/gid_map").stdout
    with open("/etc/subuid", encoding="utf-8") as file:
        (start, count) = next(line.split(":")[1:] for line in file if line.startswith(f"{ordinary_user.name}:"))
    assert said.split()[:3] == ["0", start, count.strip()]
    assert len(said.splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--userns=other"], "known are host, auto"),
        (["--userns=host", MAP], "leaves nothing to map"),
        (["--userns-gid-map=0:x:1"], "INSIDE:OUTSIDE:COUNT"),
        (["--userns-gid-map=1:2:3"], "needs a root"),
        (["--userns-uid-map=0:4294967290:50"], "no such ids"),
        (["--userns-uid-map-user=nobody", MAP], "one of both"),
    ],
)
def test_maps_that_mean_nothing(pybuild: Pybuild, options: list[str], reason: str) -> None:
    assert reason in pybuild.build(pybuild.context("FROM scratch\n"), *options, status=2).shown


@pytest.mark.either_user
def test_without_root_all_containers_have_one(busybox: Pybuild) -> None:
    said = busybox.run("run", "--network=none", "--userns=host", "busybox", "cat", "/proc/self/uid_map").stdout
    assert (said.split() == ["0", "0", "4294967295"]) == (busybox.owner == 0)
    if busybox.owner:
        asked = busybox.run("run", "--network=none", "--userns=auto", "busybox", "cat", "/proc/self/uid_map").stdout
        assert asked == said
        assert "root's to give" in busybox.run("run", MAP, "busybox", "true", status=2).stderr


def test_a_user_that_the_namespace_has_not(busybox: Pybuild) -> None:
    said = busybox.run("run", "--userns-uid-map=0:3000000:10", "--user=11", "busybox", "true", status=125).stderr
    assert "user namespace has no 11:11" in said or "user namespace has no 11:0" in said


def test_doctor_tells_whether_root_has_ids_for_one(pybuild: Pybuild, tmp_path: Path) -> None:
    """In a mount namespace of our own, with another /etc/subuid: without ids, what to do; having done it, it works."""
    needed = [name for name in ("unshare", "mount") if shutil.which(name) is None]
    if needed:
        pytest.skip(f"needs {', '.join(needed)}")
    for content, mark in (("", "--"), ("containers:3000000:65536\n", "ok")):
        (tmp_path / "subids").write_text(content)
        script = f'mount --bind {tmp_path}/subids /etc/subuid; mount --bind {tmp_path}/subids /etc/subgid; exec "$@"'
        command = ("unshare", "-m", "/bin/sh", "-euc", script, "sh", *pybuild.command)
        said = replace(pybuild, command=command).run("doctor", status=None).stdout
        (line,) = (line for line in said.splitlines() if " --userns " in line)
        assert line.startswith(mark), said
        assert ("usermod --add-subuids" in said) == (not content)


MISSING = {
    "COPY --chown=200000 f.txt /f": "f: user id 200000",
    "COPY --chown=0:200000 d /d": "d/x: group id 200000",
    "ADD archive.tar /a": "a/x: user id 200000 and group id 200000",
    "RUN --mount=type=cache,target=/c,uid=200000 true": "the cache mount at /c: user id 200000",
    "RUN --mount=type=secret,id=s,uid=200000 true": "file at /run/secrets/s",
    "USER 200000\nRUN true": "USER: 200000:0",
}


@pytest.mark.either_user
def test_ids_that_do_not_exist_here(busybox: Pybuild) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as made:
        info = tarfile.TarInfo("x")
        info.uid = info.gid = 200_000
        made.addfile(info)
    options = ("--network=none", "--secret", "id=s,env=HOME")
    for text, what in MISSING.items():
        context = busybox.context(f"FROM busybox\n{text}\n", f_txt="x", d__x="x", archive_tar=archive.getvalue())
        if not busybox.owner:
            busybox.build(context, *options)
            continue
        shown = busybox.build(context, *options, status=125).shown.partition("pybuild: ")[2]
        assert what in shown
        assert "Invalid argument" not in shown
        assert "secret" in text or "/etc/subuid and /etc/subgid" in shown


@pytest.mark.userns
def test_one_id_alone(busybox: Pybuild, ordinary_user: OrdinaryUser, tmp_path: Path) -> None:
    state = tmp_path / "alone"
    state.mkdir()
    os.chown(state, ordinary_user.uid, ordinary_user.uid)
    *start, python, safe, module, name = ordinary_user.command
    alone = replace(busybox, root=state, command=(*start, "PATH=/nowhere", python, safe, module, name), warm=None)
    busybox.run("save", "-o", tmp_path / "busybox.tar", "busybox")
    alone.run("load", "-i", tmp_path / "busybox.tar")
    shown = alone.build(alone.context("FROM busybox\nRUN exit 3\n"), "--network=none", status=3).shown
    assert "hint: if it was about another user: only root exists here" in shown
    lines = alone.run("doctor", status=None).stdout.splitlines()
    place = next(number for number, line in enumerate(lines) if " subordinate ids " in line)
    assert "install uidmap" in lines[place + 1]


@pytest.mark.either_user
def test_doctor_counts_ids(busybox: Pybuild) -> None:
    if busybox.owner:
        lines = busybox.run("doctor", status=None).stdout.splitlines()
        assert "subordinate ids  65537 ids" in next(line for line in lines if "subordinate" in line)


NODE = "FROM busybox\nRUN mknod /node c 1 3 2>/dev/null && echo made > /said || echo refused > /said\nCOPY f /f\n"
"""Makes another thing in a user namespace, and does not fail."""


def test_what_was_made_in_a_user_namespace_is_no_hit_for_others(busybox: Pybuild) -> None:
    context = busybox.context(NODE, f="f\n")
    busybox.build(context)
    assert busybox.sh("cat /said") == "made\n"
    why = "containers here run in a user namespace, and it was executed without restrictions"
    assert why in busybox.run("why", MAP, context).stdout
    assert busybox.build(context, MAP).outcomes()[0] == "RAN"
    for options, said in (((), "made\n"), ((MAP,), "refused\n")):
        assert busybox.build(context, *options).outcomes() == ["HIT", "HIT"]
        assert busybox.sh("cat /said") == said
    assert busybox.build(context, "--userns-uid-map=0:3000000:1000").outcomes()[0] == "RAN", "an id may be missing"


@pytest.mark.userns
def test_machines_of_a_kind_share_what_they_make_in_user_namespaces(
    busybox: Pybuild, ordinary_user: OrdinaryUser, tmp_path: Path
) -> None:
    work, state, cache = tmp_path / "theirs", tmp_path / "their-state", tmp_path / "cache"
    for directory in (work, state):
        directory.mkdir()
        os.chown(directory, ordinary_user.uid, ordinary_user.uid)
    rootless = Pybuild(state, work, ordinary_user.command, ordinary_user.uid)
    rootless.run("bootstrap", "busybox")
    context = rootless.context(NODE, f="f\n")
    shown = rootless.build(context, f"--cache-to=type=local,dest={work}/cache,mode=max").shown
    assert "in a user namespace, where not all can be done: what a RUN makes is a hit in the same case" in shown
    shutil.copytree(work / "cache", cache)
    take = f"--cache-from=type=local,src={cache}"
    busybox.run("save", "-o", tmp_path / "base.tar", "busybox")
    for options, outcomes in (((), ["RAN", "RAN"]), ((MAP,), ["HIT", "HIT"])):
        other = replace(busybox, root=tmp_path / f"root{len(options)}")
        other.run("load", "-i", tmp_path / "base.tar")
        assert other.build(context, take, *options).outcomes() == outcomes
        assert other.sh("cat /said") == ("refused\n" if options else "made\n")


@pytest.mark.userns
def test_what_was_made_with_one_id_is_no_hit_for_others(ordinary_user: OrdinaryUser, tmp_path: Path) -> None:
    """There `chown` does nothing, so that a step has another result, and the build says so."""
    work, state, other = tmp_path / "work", tmp_path / "state", tmp_path / "other"
    for directory in (work, state, other):
        directory.mkdir()
        os.chown(directory, ordinary_user.uid, ordinary_user.uid)
    full = Pybuild(state, work, ordinary_user.command, ordinary_user.uid)
    full.run("bootstrap", "busybox")
    single = replace(full, root=other, command=(*full.command[:-4], "PATH=/without-newuidmap", *full.command[-4:]))
    full.run("save", "-o", work / "busybox.tar", "busybox")
    single.run("load", "-i", work / "busybox.tar")
    context = full.context("FROM busybox\nCOPY --chown=5:6 f /f\nRUN touch /a && chown 1000:1000 /a\n", f="f\n")
    built = single.build(context, "--cache-to", f"type=local,dest={work}/cache")
    assert built.outcomes() == ["RAN", "RAN"]
    assert "there are no subordinate ids here" in built.shown
    assert single.build(context).outcomes() == ["HIT", "HIT"]
    built = full.build(context, "--cache-from", f"type=local,src={work}/cache")
    assert built.outcomes() == ["HIT", "RAN"]
    assert "subordinate" not in built.shown
    assert full.sh("stat -c %u:%g /a /f") == "1000:1000\n5:6\n"
    assert single.build(context).outcomes() == ["HIT", "HIT"]


def test_a_state_directory_holds_layers_of_one_form(ordinary_user: OrdinaryUser, tmp_path: Path) -> None:
    """The files of a layer whose owners could not be kept are not shown to steps of those who keep them, nor else."""
    work, state = tmp_path / "work", tmp_path / "state"
    for directory in (work, state):
        directory.mkdir()
        os.chown(directory, ordinary_user.uid, ordinary_user.uid)
    full = Pybuild(state, work, ordinary_user.command, ordinary_user.uid)
    full.run("bootstrap", "busybox")
    single = replace(full, command=(*full.command[:-4], "PATH=/without-newuidmap", *full.command[-4:]))
    context = full.context("FROM busybox\nCOPY --chown=5:6 f /f\nRUN stat -c %u:%g /f\n", f="f\n")
    shown = single.build(context, status=125).shown
    assert f"the layers in {state} were made in a user namespace, or without the right to mount" in shown
    assert "PYBUILD_ROOT names another state directory" in shown
    assert "busybox" in single.run("images").stdout
    assert "5:6" in full.build(context).shown
    assert "clean" in full.run("fsck").stdout


@pytest.mark.either_user
def test_device_nodes_of_an_archive_are_in_the_image_of_either_user(busybox: Pybuild) -> None:
    with tarfile.open(busybox.work / "nodes.tar", "w") as tar:
        node = tarfile.TarInfo("null2")
        node.type, node.devmajor, node.devminor = tarfile.CHRTYPE, 1, 3
        tar.addfile(node)
    archive = (busybox.work / "nodes.tar").read_bytes()
    context = busybox.context("FROM busybox\nADD nodes.tar /d/\nRUN ls /d > /seen\n", nodes_tar=archive)
    shown = busybox.build(context, "-o", f"type=tar,dest={busybox.work}/out.tar").shown
    assert ("do not see them" in shown) is bool(busybox.owner)
    with tarfile.open(busybox.work / "out.tar") as tar:
        assert tar.getmember("d/null2").ischr()


def without(pybuild: Pybuild, capability: str) -> Pybuild:
    """Give the command as a root has it who lacks a capability, as in many a container."""
    lacking = ("setpriv", f"--bounding-set=-{capability}", f"--inh-caps=-{capability}", PYBUILD)
    return replace(pybuild, command=lacking, warm=None)


def test_a_root_who_may_mount_nothing(pybuild: Pybuild) -> None:
    """As for other users there is a user namespace; it has all ids."""
    lesser = without(pybuild, "sys_admin")
    lesser.run("bootstrap", "busybox")
    context = lesser.context("FROM busybox\nRUN --network=none touch /a && chown 1000:2000 /a\n")
    assert "subordinate" not in lesser.build(context).shown
    assert lesser.sh("stat -c %u:%g /a") == "1000:2000\n"
    said = lesser.run("doctor", status=None).stdout
    assert "no CAP_SYS_ADMIN" in said
    least = without(pybuild, "all").run("run", "busybox", "true", status=125).stderr
    assert "0:0 cannot be mapped" in least
    assert "needs CAP_SETFCAP" in least


def test_a_root_who_may_make_no_device_nodes(busybox: Pybuild) -> None:
    lesser = without(busybox, "mknod")
    script = "echo x > /dev/null; head -c 3 /dev/zero | wc -c; chmod 600 /dev/null || chown 5 /dev/null || echo kept"
    assert lesser.run("run", "--network=none", "busybox", "sh", "-c", script).stdout == "3\nkept\n"
    assert os.stat("/dev/null").st_mode & 0o777 == 0o666
    context = busybox.context(NODE, f="f\n")
    assert busybox.build(context).outcomes()[0] == "RAN"
    assert lesser.build(context).outcomes()[0] == "RAN"
    assert busybox.sh("cat /said") == "refused\n"
