"""`pybuild bake`: targets of one file, built in one graph."""

from __future__ import annotations

import json
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.git_server import git, server
from tests.registry_server import Served, docker_registry
from tests.web_server import serve

from .conftest import EXAMPLES, Built
from .test_schemas import validator

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Pybuild

__all__ = ["docker_registry", "server"]
pytestmark = pytest.mark.root

SHARED = """\
FROM busybox AS common
RUN echo made >/made && echo once >>/made
FROM common AS one
COPY one.txt /f
FROM common AS two
COPY two.txt /f
"""
FILE = """\
variable "TAG" {
  default = "1"
  validation {
    condition = TAG != ""
    error_message = "a tag is needed"
  }
}
group "default" { targets = ["one", "two"] }
target "_all" {
  dockerfile = "Buildfile"
  labels = { tag = TAG }
}
target "one" {
  inherits = ["_all"]
  target = "one"
  tags = ["one:${TAG}"]
}
target "two" {
  inherits = ["_all"]
  target = "two"
  tags = ["two:${TAG}"]
}
"""


def bake(pybuild: Pybuild, *options: object, status: int | None = 0, **environ: str) -> Built:
    """Bake in the working directory."""
    words = () if "--progress=json" in options else ("--progress=plain",)
    done = pybuild.run("bake", *words, *options, status=status, **environ)
    return Built(done.returncode, done.stderr)


def write(pybuild: Pybuild, text: str, name: str = "docker-bake.hcl", **files: str) -> Path:
    """Write a bake file and others to the working directory."""
    for key, content in files.items():
        path = pybuild.work / key.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    path = pybuild.work / name
    path.write_text(text)
    return path


@pytest.fixture
def shared(busybox: Pybuild) -> Pybuild:
    """Give a working directory with two targets that share a stage."""
    write(busybox, FILE, Buildfile=SHARED, one_txt="1\n", two_txt="2\n")
    return busybox


@pytest.mark.either_user
def test_targets_that_share_a_stage_execute_its_steps_once(shared: Pybuild) -> None:
    first = bake(shared, "--metadata-file=m.json", TAG="7")
    assert first.outcomes() == ["RAN", "RAN", "RAN"], "one RUN and two COPYs"
    assert "[one common 2/2]" in first.shown
    assert shared.sh("cat /made /f", "one:7") == "made\nonce\n1\n"
    assert shared.sh("cat /made /f", "two:7") == "made\nonce\n2\n"
    metadata = json.loads((shared.work / "m.json").read_text())
    assert list(metadata) == ["one", "two"]
    assert metadata["two"]["image.name"] == "docker.io/library/two:7"
    config = json.loads(shared.run("inspect", "two:7").stdout)[0]
    assert metadata["two"]["containerimage.config.digest"] == config["Id"]
    assert config["Config"]["Labels"] == {"tag": "7"}
    again = bake(shared, TAG="7")
    assert again.outcomes() == ["HIT", "HIT", "HIT"]
    (shared.work / "two.txt").write_text("3\n")
    assert sorted(bake(shared, TAG="7").outcomes()) == ["HIT", "HIT", "RAN"]
    # What was baked is what a build of that target makes, and one finds what the other has made.
    alone = shared.run("--progress=plain", "-t", "alone", "--label=tag=7", "--target=two", ".").stderr
    assert set(Built(0, alone).outcomes()) == {"HIT"}
    assert (
        json.loads(shared.run("inspect", "alone").stdout)[0]["Id"]
        == json.loads(shared.run("inspect", "two:7").stdout)[0]["Id"]
    )


def test_one_build_is_remembered_and_reported(shared: Pybuild) -> None:
    bake(shared, "--report=r.html")
    listed = json.loads(shared.run("builds", "--format=json").stdout)["builds"]
    assert [(one["outcome"], one["file"]) for one in listed] == [("done", "docker-bake.hcl")]
    page = (shared.work / "r.html").read_text()
    assert "docker-bake.hcl" in page
    assert "two.txt" in page
    lines = [json.loads(line) for line in bake(shared, "--progress=json").shown.splitlines()]
    done = [line for line in lines if line["event"] == "build-done"]
    assert [one["names"] for one in done] == [["one:1"], ["two:1"]]
    ids = bake(shared, "--quiet")
    assert ids.shown == ""


def test_a_target_is_the_base_and_the_files_of_others(busybox: Pybuild) -> None:
    write(
        busybox,
        """
        target "default" {
          name = "app-${version}"
          matrix = { version = ["a", "b"] }
          contexts = { base = "target:base", files = "target:files" }
          args = { VERSION = version }
          tags = ["app:${version}"]
          dockerfile-inline = <<-EOT
            ARG VERSION
            FROM base
            ARG VERSION
            RUN echo $VERSION >>/log
            COPY --from=files /data /data
            RUN --mount=from=files,target=/m cat /m/data >>/log
          EOT
        }
        target "base" {
          dockerfile-inline = "FROM busybox\\nRUN echo base >/log\\nENV FROM_BASE=yes\\n"
        }
        target "files" {
          context = "files"
          dockerfile-inline = "FROM scratch\\nCOPY data /data\\n"
        }
        """,
        files__data="d\n",
    )
    built = bake(busybox)
    assert built.outcomes().count("RAN") == len(built.outcomes()) == 2 + 2 * 3
    for version in "ab":
        assert busybox.sh("cat /log /data; echo $FROM_BASE", f"app:{version}") == f"base\n{version}\nd\nd\nyes\n"
    assert "base" not in busybox.run("images").stdout.replace("busybox", "")
    (busybox.work / "files/data").write_text("e\n")
    again = bake(busybox, "app-a")
    assert "[base 2/2] RUN echo base >/log\n#2 CACHED" in again.shown
    assert busybox.sh("cat /log", "app:a") == "base\na\ne\n"
    history = busybox.run("history", "app:a").stdout
    assert "echo base" in history


# ruff: noqa: E501
WRONG = (
    ('target "default" {\n  tags = [NOPE]\n}', "docker-bake.hcl:2:11: there is no variable `NOPE`"),
    ('target "default" {\n  tags = {}\n}', "docker-bake.hcl:2:10: `tags`: a list of strings is needed"),
    ('target "default" {\n  pull = "so"\n}', "docker-bake.hcl:2:"),
    ('target "default" {\n  inherits = ["a"]\n}', "docker-bake.hcl:2:14: there is no target `a`"),
    ('group "default" {\n  targets = ["x"]\n}\n', "docker-bake.hcl:1:1: there is no target `x`"),
    (
        'target "default" {\n  contexts = { a = "target:b" }\n}\ntarget "b" {\n  contexts = { a = "target:default" }\n}',
        "the target `default` is built from itself: default → b → default",
    ),
    (
        'group "default" {\n  targets = ["g"]\n}\ngroup "g" {\n  targets = ["default"]\n}\ntarget "t" {}',
        "the group `default` contains itself: default → g → default",
    ),
    (
        'target "default" {\n  inherits = ["a"]\n}\ntarget "a" {\n  inherits = ["default"]\n}',
        "docker-bake.hcl:5:14: the target `default` inherits itself: default → a → default",
    ),
    ('variable "A" {\n  default = B\n}\nvariable "B" {\n  default = A\n}\ntarget "default" {}', "refers to itself: B → A → B"),
    ('variable "A" {\n  type = number\n  default = "x"\n}\ntarget "default" {}', "docker-bake.hcl:3:14: the default of `A`"),
    (
        'variable "A" {\n  validation {\n    condition = A != ""\n    error_message = "say A"\n  }\n}\ntarget "default" {}',
        "docker-bake.hcl:3:17: the variable `A` is not valid: say A",
    ),
    ('target "default" {\n  platforms = ["amd64/linux/x/y"]\n}', "docker-bake.hcl:1:1: "),
    ('target "default" {\n  shm-size = "lots"\n}', "docker-bake.hcl:2:15: shm-size of the target `default`: lots"),
    ('target "default" {\n  tags = ["UP"]\n}', "`UP` is not an image reference"),
    ('target "default" {\n  dockerfile-inline = "FROM scratch\\nCOPPY a b"\n}', "default.dockerfile-inline:2:1: "),
    ('target "default" {\n  matrix = { a = ["x", "y"] }\n  name = "same"\n}', "the matrix makes two targets `same`"),
    ("target default {", "docker-bake.hcl:1:"),
)  # fmt: skip


def test_what_is_wrong_is_said_with_its_place_before_anything_is_built(busybox: Pybuild) -> None:
    for text, said in WRONG:
        write(busybox, text, Buildfile="FROM busybox\nRUN echo executed >&2\n")
        shown = bake(busybox, status=None)
        assert shown.status in (2, 125), text
        assert said in shown.shown, text
        assert "executed" not in shown.shown, text


def test_set_and_the_flags_change_targets(shared: Pybuild) -> None:
    bake(shared, "one", "--set=one.tags=renamed", "--set=*.labels.more=x", "--set=one.output=type=local,dest=out")
    assert (shared.work / "out/f").read_text() == "1\n"
    labels = json.loads(shared.run("inspect", "renamed").stdout)[0]["Config"]["Labels"]
    assert labels == {"tag": "1", "more": "x"}
    assert "RAN" in bake(shared, "--no-cache").outcomes()
    assert "there is no target `thre*`" in bake(shared, "--set=thre*.tags=x", status=2).shown
    assert "did you mean tags?" in bake(shared, "--set=one.tag=x", status=2).shown
    assert "both write to the standard output" in bake(shared, "--set=*.output=-", status=2).shown
    bake(shared, "--set=*.output=type=oci,dest=all.tar", "one")
    assert tarfile.is_tarfile(shared.work / "all.tar")
    shown = shared.run("bake", "--set=*.output=type=tar,dest=-", "one").stdout
    assert "f" in shown


def test_what_is_outside_has_to_be_allowed(shared: Pybuild) -> None:
    refused = bake(shared, "--set=one.output=../elsewhere", "--set=two.network=host", status=2).shown
    assert "the target `one` writes ../elsewhere (docker-bake.hcl:13:1)" in refused
    assert "add --allow fs.write=../elsewhere --allow network.host" in refused
    bake(shared, "--set=one.output=../elsewhere", "--allow=fs.write=..", "one")
    assert (shared.work / "../elsewhere/f").read_text() == "1\n"
    write(shared, 'target "default" {\n  context = "/etc"\n  entitlements = ["security.insecure"]\n}')
    refused = bake(shared, status=2).shown
    assert "--allow security.insecure --allow fs.read=/etc" in refused
    assert "did you mean fs.read?" in bake(shared, "--allow=fs.reed=/", status=2).shown


def test_build_files_can_be_looked_at_for_all_targets(shared: Pybuild) -> None:
    shown = shared.run("bake", "--call=targets").stdout
    assert "# one" in shown
    assert shared.run("bake", "--check").stdout.count("findings") + shared.run("bake", "--check").stdout.count(
        "finding"
    )
    found = json.loads(shared.run("bake", "--call=outline,format=json").stdout)
    assert set(found["target"]) == {"one", "two"}
    assert found["target"]["two"]["name"] == "two"
    for call in ("outline", "targets", "graph", "check"):
        found = json.loads(shared.run("bake", f"--call={call},format=json").stdout)
        validator("bake-call").validate(found)
        for answer in found["target"].values():
            validator(call).validate(answer)
    write(shared, 'group "default" { targets = ["a", "b"] }\ntarget "a" { call = "check" }\ntarget "b" {}')
    assert "ask for different things (a: check, b: build)" in bake(shared, status=2).shown


def test_compose_services_are_targets(busybox: Pybuild) -> None:
    write(
        busybox,
        """
        services:
          web:
            build:
              context: web
              args: {WHO: "${WHO:-nobody}"}
              additional_contexts: {base: "service:base"}
            image: web:1
          base:
            build: {dockerfile_inline: "FROM busybox\\nRUN echo b >/b\\n"}
          db:
            image: postgres
        """,
        "compose.yaml",
        web__Dockerfile="FROM base\nARG WHO\nRUN echo $WHO >>/b\n",
        _env="WHO=me\n",
    )
    (busybox.work / ".env").write_text("WHO=me\n")
    bake(busybox, "web")
    assert busybox.sh("cat /b", "web:1") == "b\nme\n"


def test_a_repository_is_baked_as_it_is_there(busybox: Pybuild, tmp_path: Path, server: str) -> None:
    there = tmp_path / "remote/app.git"
    there.mkdir()
    git(there, "init", "-q")
    (there / "docker-bake.hcl").write_text(
        'target "default" {\n  context = "sub"\n  dockerfile = "Buildfile"\n  tags = ["remote"]\n}\n'
        'target "here" {\n  inherits = ["default"]\n  context = "cwd://local"\n  dockerfile = "cwd://local/Buildfile"\n}\n'
        'target "out" {\n  context = "../.."\n}\n'
    )
    (there / "sub").mkdir()
    (there / "sub/Buildfile").write_text("FROM busybox\nCOPY f /f\n")
    (there / "sub/f").write_text("far\n")
    git(there, "add", ".")
    git(there, "commit", "-qm", "one")
    url = f"{server}/app.git"
    (busybox.work / "local").mkdir()
    (busybox.work / "local/Buildfile").write_text("FROM busybox\nCOPY f /f\n")
    (busybox.work / "local/f").write_text("near\n")
    bake(busybox, url)
    assert busybox.sh("cat /f", "remote") == "far\n"
    assert "--allow fs.read=local" in bake(busybox, url, "here", status=2).shown
    bake(busybox, url, "here", "--allow=fs.read=local")
    assert busybox.sh("cat /f", "remote") == "near\n"
    assert "it is not in the repository" in bake(busybox, url, "out", status=None).shown


def test_no_more_is_built_than_has_changed_since_a_commit(shared: Pybuild) -> None:
    git(shared.work, "init", "-q")
    git(shared.work, "add", ".")
    git(shared.work, "commit", "-qm", "first")
    same = shared.run("bake", "--changed-since=HEAD")
    assert "no target has changed since HEAD" in same.stderr
    (shared.work / "two.txt").write_text("new\n")
    (shared.work / "README").write_text("nothing that a target reads\n")
    changed = bake(shared, "--changed-since=HEAD")
    assert "as two:1 in" in changed.shown
    assert "one:1" not in changed.shown
    git(shared.work, "add", ".")
    git(shared.work, "commit", "-qm", "second")
    assert "no target has changed" in bake(shared, "--changed-since=HEAD").shown
    assert "as two:1 in" in bake(shared, "--changed-since=HEAD~1").shown
    both = bake(shared, "--changed-since=HEAD", TAG="2").shown
    assert "no target has changed" in both, "the variable holds for then and now"
    write(shared, FILE.replace("tag = TAG", 'tag = "x${TAG}"'))
    both = bake(shared, "--changed-since=HEAD").shown
    assert "as one:1 in" in both
    assert "as two:1 in" in both
    assert "git says" in bake(shared, "--changed-since=nope", status=125).shown


def test_images_are_pushed(shared: Pybuild, docker_registry: Served) -> None:
    place = docker_registry.host
    bake(shared, "--push", f"--set=one.tags={place}/one", f"--set=two.tags={place}/two", "--metadata-file=m.json")
    metadata = json.loads((shared.work / "m.json").read_text())
    for name in ("one", "two"):
        digest = subprocess.run(
            ["skopeo", "inspect", "--tls-verify=false", "--format={{.Digest}}", f"docker://{place}/{name}"],
            check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip
        assert metadata[name]["containerimage.digest"] == digest


def test_the_file_of_our_own_says_the_same(shared: Pybuild) -> None:
    before = shared.run("bake", "--print").stdout
    (shared.work / "docker-bake.hcl").unlink()
    write(
        shared,
        """
        variables:
          TAG: "1"
        groups:
          default: [one, two]
        targets:
          _all:
            dockerfile: Buildfile
            labels: {tag: "${TAG}"}
          one: {inherits: [_all], target: one, tags: ["one:${TAG}"]}
          two: {inherits: [_all], target: two, tags: ["two:${TAG}"]}
        """,
        "pybuild-bake.yaml",
    )
    assert shared.run("bake", "--print").stdout == before
    write(shared, "targets:\n  one:\n    tags: {}\n", "pybuild-bake.yaml")
    assert "pybuild-bake.yaml:3:11: `tags`: a list of strings is needed" in bake(shared, "one", status=None).shown


def test_a_failed_step_ends_all(busybox: Pybuild) -> None:
    write(
        busybox,
        """
        group "default" { targets = ["a", "b"] }
        target "lib" {
          dockerfile-inline = "FROM busybox\\nRUN echo lib >/lib\\n"
        }
        target "a" {
          contexts = { lib = "target:lib" }
          dockerfile-inline = "FROM lib\\nENV --from-run V cat /lib\\nRUN echo $V >/a\\n"
          tags = ["a"]
        }
        target "b" {
          contexts = { lib = "target:lib" }
          dockerfile-inline = "FROM lib\\nENV --from-run V cat /lib\\nRUN echo $V >/b; exit 7\\n"
          tags = ["b"]
        }
        """,
    )
    failed = bake(busybox, "--extensions", "--metadata-file", "m.json", status=7).shown
    assert "b.dockerfile-inline:3: the command ended with status 7" in failed
    assert failed.count("] ENV --from-run V cat /lib") == 1
    assert not (busybox.work / "m.json").exists()
    assert busybox.run("images", "-q", "--filter=reference=a").stdout == ""
    again = bake(busybox, "a", "--extensions", "--load")
    assert again.outcomes()[:2] == ["HIT", "HIT"], "the cache has what was executed before"
    assert busybox.sh("cat /a", "a") == "lib\n"


def test_targets_for_several_platforms_take_one_another(busybox: Pybuild) -> None:
    write(
        busybox,
        """
        target "default" {
          platforms = ["linux/amd64", "linux/arm64"]
          contexts = { files = "target:files" }
          dockerfile-inline = "FROM scratch\\nCOPY --from=files /x /x\\n"
          tags = ["both"]
          output = ["out"]
        }
        target "files" {
          dockerfile-inline = <<EOT
        FROM --platform=$BUILDPLATFORM busybox AS made
        RUN echo once >&2
        ARG TARGETARCH
        RUN echo $TARGETARCH >/x
        FROM scratch
        COPY --from=made /x /x
        EOT
        }
        """,
    )
    shown = bake(busybox).shown
    assert shown.count("RUN echo once") == 1
    for arch in ("amd64", "arm64"):
        assert (busybox.work / f"out/linux_{arch}/x").read_text() == f"{arch}\n"


def test_a_lone_file_comes_from_a_web_server(busybox: Pybuild, tmp_path: Path) -> None:
    text = (
        'target "default" {\n  context = "cwd://here"\n  dockerfile-inline = "FROM scratch\\nCOPY f /f\\n"\n  output = ["out"]\n}'
        '\ntarget "beside" {}\n'
    )
    (tmp_path / "web").mkdir()
    (tmp_path / "web/docker-bake.hcl").write_text(text)
    write(busybox, "", "unused", here__f="mine\n")
    with serve(tmp_path / "web") as web:
        where = f"{web.url}/docker-bake.hcl"
        assert '"context": "cwd://here"' in busybox.run("bake", where, "--print").stdout
        allowed = ("--allow=fs.read=here", "--allow=fs.write=out")
        bake(busybox, where, *allowed)
        assert (busybox.work / "out/f").read_text() == "mine\n"
        assert "nothing else was fetched" in bake(busybox, where, *allowed, "beside", status=None).shown


def test_the_example(busybox: Pybuild) -> None:
    where = ("-f", EXAMPLES / "bake/docker-bake.hcl")
    context = f"--set=*.context={EXAMPLES / 'bake'}"
    built = bake(busybox, *where, context, f"--allow=fs.read={EXAMPLES}")
    assert built.outcomes() == ["RAN"] * 4
    assert busybox.run("run", "--network=none", "greeting:latest-de").stdout == "hallo\nmade once for all targets\n"


def test_targets_are_attested(shared: Pybuild) -> None:
    bake(shared, "--provenance=mode=max", "--set=*.output=type=oci,dest=out", "--metadata-file=m.json", "one")
    found = json.loads((shared.work / "m.json").read_text())["one"]["buildx.build.provenance"]
    steps = json.dumps(found)
    assert "COPY one.txt" in steps
    assert "COPY two.txt" not in steps, "of the graph that what the target needs alone"


def test_targets_that_name_one_place_for_their_cache_have_it_together(shared: Pybuild, stores: Path) -> None:
    sets = ["--set=*.cache-to=type=local,dest=cache,mode=max", "--set=*.cache-from=type=local,src=cache"]
    first = bake(shared, *sets)
    assert first.shown.count("cache: local cache: sent") == 1
    subprocess.run(["rm", "-rf", shared.root], check=True)
    subprocess.run(["cp", "-aT", stores / str(shared.owner), shared.root], check=True)
    assert set(bake(shared, *sets).outcomes()) == {"HIT"}
    one = bake(shared, "--set=one.cache-to=type=local,dest=own,mode=max", "--set=two.cache-to=type=local,dest=cache")
    assert one.shown.count(": sent") == 2
