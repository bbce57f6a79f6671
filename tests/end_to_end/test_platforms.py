"""Images for other machines than this one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.image import platform as platforms
from buildah_py.linux.binfmt import find_interpreter
from tests.foreign_program import arm64_program
from tests.registry_server import Served, docker_registry

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Pybuild

__all__ = ["docker_registry"]
pytestmark = pytest.mark.root
SEVERAL = "--platform=linux/amd64,linux/arm64"

CROSS = """
FROM --platform=$BUILDPLATFORM busybox AS tools
ARG TARGETPLATFORM TARGETARCH TARGETVARIANT BUILDPLATFORM
RUN echo "$BUILDPLATFORM for $TARGETPLATFORM: $TARGETARCH $TARGETVARIANT" >/told
FROM scratch
COPY --from=tools /told /
"""


def test_a_stage_of_this_machine_makes_an_image_for_another(busybox: Pybuild) -> None:
    busybox.build(busybox.context(CROSS), "--platform=linux/arm/v7", "-o", "out")
    config = json.loads(busybox.run("inspect", "test").stdout)[0]["Pybuild"]
    assert (config["os"], config["architecture"], config["variant"]) == ("linux", "arm", "v7")
    host = platforms.host()
    assert (busybox.work / "out/told").read_text() == f"{host} for linux/arm/v7: arm v7\n"
    again = busybox.build(busybox.context(CROSS), "--platform=linux/arm/v7")
    assert set(again.outcomes()) == {"HIT"}


def test_a_foreign_command_says_what_is_missing(busybox: Pybuild) -> None:
    if find_interpreter("s390x"):
        pytest.skip("needs a kernel without an emulator for s390x")
    context = busybox.context("FROM scratch\nCOPY a.txt /\nRUN echo\n", a_txt="a")
    refused = busybox.build(context, "--platform=linux/s390x", status=125).shown
    assert "Buildfile:3: a command for linux/s390x cannot run" in refused
    assert "qemu-user-static" in refused
    assert "runs linux" in busybox.build(context, "--platform=windows/amd64", status=125).shown


SHARED = """
FROM --platform=$BUILDPLATFORM busybox AS tools
RUN echo once for all && echo tool >/tool
ARG TARGETPLATFORM
RUN echo "for $TARGETPLATFORM" >/told
FROM scratch
COPY --from=tools /told /tool /
"""


def skopeo(*words: str) -> str:
    return subprocess.run(["skopeo", *words], check=True, capture_output=True, text=True).stdout


def platforms_of(index: str | bytes) -> list[str]:
    """Return the platforms of an index, in its order."""
    found = [one["platform"] for one in json.loads(index)["manifests"]]
    return ["/".join(filter(None, (one["os"], one["architecture"], one.get("variant")))) for one in found]


def test_several_platforms_in_one_build(busybox: Pybuild) -> None:
    context = busybox.context(SHARED)
    options = ("-o", "type=oci,dest=out.tar", "--metadata-file=meta.json", "--iidfile=iid")
    built = busybox.build(context, SEVERAL, "--platform=linux/arm/v7", *options)
    assert built.shown.count("RUN echo once for all") == 1
    assert "[linux/amd64->arm64 tools 3/3] RUN echo" in built.shown
    raw = skopeo("inspect", "--raw", f"oci-archive:{busybox.work}/out.tar")
    assert platforms_of(raw) == ["linux/amd64", "linux/arm64", "linux/arm/v7"]
    for architecture in ("amd64", "arm64"):
        config = json.loads(
            skopeo("--override-arch", architecture, "inspect", "--config", f"oci-archive:{busybox.work}/out.tar")
        )
        assert config["architecture"] == architecture
    metadata = json.loads((busybox.work / "meta.json").read_text())
    assert metadata["containerimage.descriptor"]["mediaType"] == "application/vnd.oci.image.index.v1+json"
    shown = busybox.run("inspect", "--platform=linux/arm64", "-f", "{{.Id}} {{.Architecture}} {{.RepoTags}}", "test")
    assert shown.stdout.split()[1:] == ["arm64", "[test:latest]"]
    assert (busybox.work / "iid").read_text() == busybox.run("inspect", "-f", "{{.Id}}", "test").stdout.strip()
    listed = json.loads(busybox.run("images", "--format=json", "test").stdout)
    assert sorted(one["platform"] for one in listed) == ["linux/amd64", "linux/arm/v7", "linux/arm64"]
    again = busybox.build(context, SEVERAL, "--platform=linux/arm/v7", *options)
    assert set(again.outcomes()) == {"HIT"}
    assert skopeo("inspect", "--raw", f"oci-archive:{busybox.work}/out.tar") == raw


def test_an_index_goes_to_a_registry_and_comes_from_the_store(busybox: Pybuild, docker_registry: Served) -> None:
    name = f"{docker_registry.host}/several:1"
    busybox.run(SEVERAL, "-t", name, "--push", busybox.context(SHARED))
    remote = f"docker://{name}"
    raw = skopeo("inspect", "--raw", "--tls-verify=false", remote)
    assert platforms_of(raw) == ["linux/amd64", "linux/arm64"]
    assert busybox.run("manifest", "inspect", name).stdout.split() == json.dumps(json.loads(raw), indent=2).split()
    busybox.run("push", name, f"{docker_registry.host}/stored:1")
    assert skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{docker_registry.host}/stored:1") == raw
    busybox.run("push", "--platform=linux/arm64", name, f"{docker_registry.host}/one:1")
    one = json.loads(skopeo("inspect", "--config", "--tls-verify=false", f"docker://{docker_registry.host}/one:1"))
    assert one["architecture"] == "arm64"
    busybox.run("save", "--format=oci-archive", "-o", "all.tar", name)
    assert skopeo("inspect", "--raw", f"oci-archive:{busybox.work}/all.tar") == raw
    saved = busybox.run("save", "-o", "one.tar", name)
    assert "is there for linux/amd64, linux/arm64" in saved.stderr
    with tarfile.open(busybox.work / "one.tar") as archive:
        file = archive.extractfile("manifest.json")
        assert file is not None
        assert len(json.load(file)) == 1


def test_names_of_several_images(busybox: Pybuild) -> None:
    def there() -> list[tuple[str, str]]:
        found = json.loads(busybox.run("images", "--format=json").stdout)
        return sorted((one["repository"], one["platform"]) for one in found if one["repository"] != "busybox")

    host = str(platforms.host())
    context = busybox.context("FROM scratch\nCOPY a.txt /\n", a_txt="a")
    busybox.build(context, SEVERAL)
    busybox.run("tag", "test", "other")
    busybox.run("rmi", "test")
    assert there() == [("other", "linux/amd64"), ("other", "linux/arm64")]
    of_arm = busybox.context("FROM other\n", "second")
    busybox.build(of_arm, "--platform=linux/arm64", "-t", "derived")
    busybox.run("--progress=plain", "-t", "other", context)
    assert [one for one in there() if one[0] == "other"] == [("other", host)]
    busybox.run("manifest", "create", "mine")
    refused = busybox.build(context, SEVERAL, "-t", "mine", status=2).shown
    assert "put together by hand" in refused


def test_files_of_several_platforms(busybox: Pybuild) -> None:
    context = busybox.context(SHARED)
    busybox.build(context, SEVERAL, "-o", "out", "-o", "type=tar,dest=out.tar")
    told = {one: (busybox.work / "out" / one / "told").read_text() for one in os.listdir(busybox.work / "out")}
    assert told == {"linux_amd64": "for linux/amd64\n", "linux_arm64": "for linux/arm64\n"}
    with tarfile.open(busybox.work / "out.tar") as archive:
        assert {"linux_amd64/told", "linux_arm64/tool"} <= set(archive.getnames())
    both = busybox.build(context, SEVERAL, "-o", "type=local,dest=both,platform-split=false", status=None)
    assert both.status == 125
    assert "/told is not the same for linux_amd64 and for linux_arm64" in both.shown
    assert not (busybox.work / "both").exists()
    same = busybox.context("FROM scratch\nARG TARGETARCH\nCOPY a.txt /$TARGETARCH/\n", "same", a_txt="a")
    busybox.build(same, SEVERAL, "-o", "type=local,dest=both,platform-split=false")
    assert sorted(os.listdir(busybox.work / "both")) == ["amd64", "arm64"]
    busybox.build(same, "-o", "type=local,dest=split,platform-split=true")
    assert os.listdir(busybox.work / "split") == [str(platforms.host()).replace("/", "_")]


def test_outputs_for_one_platform_refuse_several_before_the_build(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN echo built\n")
    for output in (["--load"], ["-o", "type=docker,dest=out.tar"]):
        environ = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
        refused = busybox.build(context, SEVERAL, *output, status=2, **environ).shown
        assert "one platform" in refused
        assert "type=oci" in refused
        assert "RUN" not in refused
    wrong = busybox.build(context, "--platform=linux/amd64,linux/amr64", status=2).shown
    assert "`linux/amr64` is not a platform" in wrong


def test_a_value_that_a_step_prints_for_each_platform(busybox: Pybuild) -> None:
    text = (
        "FROM --platform=$BUILDPLATFORM busybox\nENV --from-run SAME echo same\nARG TARGETARCH\n"
        "ENV --from-run OWN echo own-$TARGETARCH\nRUN echo $SAME $OWN >/told\n"
    )
    built = busybox.build(busybox.context(text), "--extensions", SEVERAL, "-o", "out")
    assert built.shown.count("ENV --from-run SAME echo same") == 1
    for architecture in ("amd64", "arm64"):
        told = (busybox.work / "out" / f"linux_{architecture}" / "told").read_text()
        assert told == f"same own-{architecture}\n"


FOREIGN = """
FROM --platform=$BUILDPLATFORM {native} AS native
COPY a.txt /native
FROM scratch
COPY --chmod=755 hello /
COPY --from=native /native /
RUN ["/hello"]
"""


@pytest.mark.either_user
def test_a_foreign_command_runs_by_an_emulator(pybuild: Pybuild) -> None:
    program = arm64_program("/made", "made on arm64\n")
    context = pybuild.context(FOREIGN.format(native="scratch"), hello=program, a_txt="a")
    emulator = shutil.which("qemu-aarch64-static")
    if emulator is None:
        pytest.skip("needs qemu-user-static")
    if pybuild.owner == 0 and find_interpreter("arm64") is None:
        refused = pybuild.build(context, "--platform=linux/arm64,linux/amd64", status=125).shown
        assert "the kernel knows no emulator for arm64" in refused
        assert "qemu-user-static is installed, and not registered" in refused
        assert "#1" not in refused, "nothing was built"
        return
    if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 7):
        pytest.skip("needs Linux 6.7, where user namespaces have emulators of their own")
    built = pybuild.build(context, "--platform=linux/arm64", "-o", "out")
    assert "made on arm64" in built.shown
    assert (pybuild.work / "out/made").read_text() == "made on arm64\n"
    assert pybuild.run("run", "--platform=linux/arm64", "--network=none", "test", "/hello").stdout == "made on arm64\n"
    # What is known needs no emulator; what is not is refused before anything is built.
    known = pybuild.build(context, "--platform=linux/arm64", PATH="/bin:/sbin")
    assert set(known.outcomes()) == {"HIT"}


EM_X86_64, EM_AARCH64 = 62, 183
PROGRAM = '#include <stdio.h>\nint main(void) { puts("compiled"); return 0; }\n'
COMPILED = """
FROM --platform=$BUILDPLATFORM busybox AS compile
COPY hello.c /
RUN date +%N >/once
ARG TARGETARCH
RUN case $TARGETARCH in arm64) cc=aarch64-linux-gnu-gcc;; *) cc=gcc;; esac; $cc -static -o /hello /hello.c
FROM scratch
COPY --from=compile /hello /once /
"""


def machine(program: Path) -> int:
    """Return what a program is for, as its ELF header has it."""
    return int.from_bytes(program.read_bytes()[18:20], "little")


def test_a_c_program_is_compiled_for_two_platforms(busybox: Pybuild) -> None:
    """By compilers of this machine, which are lent to the step."""
    if not (shutil.which("aarch64-linux-gnu-gcc") and shutil.which("gcc")):
        pytest.skip("needs gcc, gcc-aarch64-linux-gnu, libc6-dev-arm64-cross")
    lent = [f"--volume=/usr/{one}:/usr/{one}:ro" for one in ("bin", "lib", "include", "aarch64-linux-gnu")]
    lent += ["--volume=/usr/lib:/lib:ro", "--volume=/usr/lib64:/lib64:ro"]
    context = busybox.context(COMPILED, hello_c=PROGRAM)
    outputs = ("-o", "out", "-o", "type=oci,dest=layout,tar=false")
    steps = [step for step in busybox.build(context, SEVERAL, *outputs, *lent).shown.splitlines() if "RUN case" in step]
    assert len({step.partition(" ")[0] for step in steps}) == 2, "for each platform one compiler"
    amd64, arm64 = (busybox.work / f"out/linux_{one}" for one in ("amd64", "arm64"))
    assert (amd64 / "once").read_text() == (arm64 / "once").read_text(), "what is the same was done once"
    assert [machine(one / "hello") for one in (amd64, arm64)] == [EM_X86_64, EM_AARCH64]
    own = amd64 if os.uname().machine == "x86_64" else arm64
    assert subprocess.run([own / "hello"], check=True, capture_output=True, text=True).stdout == "compiled\n"
    if emulator := shutil.which("qemu-aarch64-static"):
        ran = subprocess.run([emulator, arm64 / "hello"], check=True, capture_output=True, text=True)
        assert ran.stdout == "compiled\n"
    (top,) = json.loads((busybox.work / "layout/index.json").read_text())["manifests"]
    index = json.loads((busybox.work / "layout/blobs/sha256" / top["digest"].removeprefix("sha256:")).read_text())
    assert [one["platform"]["architecture"] for one in index["manifests"]] == ["amd64", "arm64"]


@pytest.mark.slow
@pytest.mark.network
def test_a_c_program_is_compiled_by_a_compiler_of_another_machine(busybox: Pybuild, tmp_path: Any) -> None:
    if find_interpreter("arm64") is None:
        pytest.skip("needs an emulator for arm64 that is registered")
    packages = "--include=tcc,libc6-dev,dash"
    extract = ["mmdebstrap", "--variant=extract", "--architectures=arm64", packages, "bookworm", tmp_path / "arm64"]
    subprocess.run(extract, check=True, capture_output=True)
    busybox.run("import", "--platform=linux/arm64", "-t", "compiler", tmp_path / "arm64")
    emulated = 'FROM compiler\nSHELL ["/bin/dash", "-c"]\n'
    emulated += "COPY hello.c /\nRUN tcc -o /hello /hello.c\nRUN /hello >/told\n"
    busybox.build(busybox.context(emulated, hello_c=PROGRAM), "--platform=linux/arm64", "-o", "out")
    assert machine(busybox.work / "out/hello") == EM_AARCH64
    assert (busybox.work / "out/told").read_text() == "compiled\n"
