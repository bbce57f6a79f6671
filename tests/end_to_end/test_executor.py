"""kaniko's command line: what its users type, beside a registry, and what other tools read back."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests import s3_server
from tests.end_to_end.conftest import PYBUILD
from tests.end_to_end.test_cages import cage
from tests.end_to_end.test_main_context import packed
from tests.foreign_images import Layout, tar_of
from tests.git_server import Backend, git, repo, server
from tests.podman import Podman, podman
from tests.registry_server import PASSWORD, USER, FaultProxy, Served, docker_registry, serving
from tests.web_server import Web, web

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.end_to_end.conftest import Pybuild
    from tests.s3_server import Bucket

__all__ = ["docker_registry", "podman", "repo", "server", "web"]
pytestmark = pytest.mark.root

DOCKERFILE = b"FROM scratch\nCOPY a.txt /\n"


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with s3_server.serve() as served:
        yield served


@pytest.fixture
def base(busybox: Pybuild, docker_registry: Served) -> str:
    """Put busybox into the registry, for every store asks there; its name."""
    name = f"{docker_registry.host}/base:1"
    busybox.run("push", "busybox", name)
    return name


def program(pybuild: Pybuild) -> Pybuild:
    """Give kaniko's program, which is this one by another name."""
    path = pybuild.work / "kaniko/executor"
    path.parent.mkdir()
    path.symlink_to(PYBUILD)
    return replace(pybuild, command=(str(path),))


def executor(pybuild: Pybuild, *arguments: object, status: Any = 0, **environ: str) -> str:
    """Run kaniko's command line; what it shows."""
    return pybuild.run("executor", *arguments, status=status, **environ).stderr


def context(pybuild: Pybuild, text: str, **files: str) -> Path:
    """Write a context with a Dockerfile, as kaniko wants it called."""
    made = pybuild.context(text, **files)
    (made / "Buildfile").rename(made / "Dockerfile")
    return made


def skopeo(*arguments: str) -> Any:
    done = subprocess.run(["skopeo", *arguments], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def has(registry: Served, path: str) -> bool:
    return registry.ask("GET", f"/v2/{path}", Accept="application/vnd.oci.image.manifest.v1+json")[0] == 200


def test_a_build_as_in_kanikos_image(busybox: Pybuild, docker_registry: Served, base: str, podman: Podman) -> None:
    made = context(busybox, "ARG BASE=scratch\nFROM $BASE AS one\nARG WHO\nRUN echo $WHO >/x\nFROM one\nRUN exit 7\n")
    name = f"{docker_registry.host}/team/app"
    files = {one: str(busybox.work / one) for one in ("digest-file", "image-name-with-digest-file",
                                                      "image-name-tag-with-digest-file")}  # fmt: skip
    (busybox.work / "digest-file").write_text("of an earlier build, which was much longer than a digest is" * 9)
    kaniko = program(busybox)
    shown = kaniko.run(
        f"--context=dir://{made}", "--dockerfile", "Dockerfile", "-d", f"{name}:1", f"--destination={name}:2",
        "--build-arg=WHO=you all", f"--build-arg=BASE={base}", "--target=one", "--label", "a=b", "--cleanup",
        "--snapshot-mode=redo", "--use-new-run", "--force", "--verbosity=info", "--verbosity=warn",
        *(f"--{one}={file}" for one, file in files.items()),
    ).stderr  # fmt: skip
    assert shown == ""
    digest = (busybox.work / "digest-file").read_text()
    assert [(busybox.work / one).read_text() for one in list(files)[1:]] == [
        f"{name}@{digest}\n" * 2,
        f"{name}:1@{digest}\n{name}:2@{digest}\n",
    ]
    for tag in ("1", "2"):
        found = skopeo("inspect", "--tls-verify=false", f"docker://{name}:{tag}")
        assert (found["Digest"], found["Labels"]) == (digest, {"a": "b"})
    podman("pull", "--tls-verify=false", f"{name}@{digest}")
    assert podman.execute(f"{name}@{digest}", "cat", "/x") == "you all\n"
    failed = kaniko.run("-c", made, "-d", f"{name}:3", f"--build-arg=BASE={base}", status=1).stderr
    assert "7" in failed
    assert kaniko.run("version").stdout.startswith("pybuild ")
    assert not has(docker_registry, "team/app/manifests/3")


@pytest.mark.parametrize("cache_repo", ["", "/shared/cache", "oci:"])
def test_another_container_hits_what_one_has_put_into_the_cache(
    busybox: Pybuild, docker_registry: Served, base: str, tmp_path: Path, cache_repo: str
) -> None:
    name = f"{docker_registry.host}/app"
    text = f"FROM {base} AS one\nCOPY a.txt /\nRUN date +%N >/x\nFROM scratch\nCOPY --from=one /x /\n"
    made = context(busybox, text, a_txt="a")
    said = [f"--context={made}", "--cache=true", "--cache-copy-layers", "--compressed-caching=false"]
    if cache_repo:
        place = f"oci:{tmp_path}/cache" if cache_repo == "oci:" else f"{docker_registry.host}{cache_repo}"
        said.append(f"--cache-repo={place}")

    def build(number: int, *options: str) -> tuple[str, str]:
        other = replace(busybox, root=tmp_path / f"state-{number}")
        file = tmp_path / f"digest-{number}"
        shown = executor(other, *said, f"-d={name}:{number}", f"--digest-file={file}", *options)
        counts = re.search(r"(\d+) from the cache, (\d+) executed", shown)
        assert counts, shown
        return f"{counts[1]}+{counts[2]}", file.read_text()

    assert build(1, "--no-push-cache")[0] == "0+3"
    second, digest = build(2)
    assert second == "0+3"
    assert build(3, "--no-push-cache") == ("3+0", digest)
    assert build(4, "--cache-run-layers=false")[0] == "0+3"
    assert build(5, "--cache=false")[0] == "0+3"
    if not cache_repo:
        status, _, tags = docker_registry.ask("GET", "/v2/app/cache/tags/list")
        assert status == 200
        assert re.fullmatch(r"pybuild-[0-9a-f]{16}", *json.loads(tags)["tags"])


def test_a_cache_that_cannot_be_written_is_no_failure(pybuild: Pybuild, docker_registry: Served) -> None:
    made = context(pybuild, "FROM scratch\nCOPY a.txt /\n", a_txt="a")
    with FaultProxy(docker_registry) as proxy:
        proxy.fault("PUT", "/v2/cache/manifests/", lambda request: request.reply(403), times=-1)
        said = ("-c", made, "--cache", f"--cache-repo={proxy.host}/cache", "-d", f"{proxy.host}/app:1")
        assert "403" in executor(pybuild, *said)
    assert has(docker_registry, "app/manifests/1")


def test_archives_and_layouts(busybox: Pybuild, docker_registry: Served, base: str) -> None:
    made = context(busybox, f"FROM {base}\nRUN echo 1 >/x\n")
    tar, layout, digest = (busybox.work / one for one in ("with, comma.tar", "layout", "digest"))
    name = f"{docker_registry.host}/app:1"
    executor(busybox, "-c", made, "--no-push", f"--tar-path={tar}", f"--oci-layout-path={layout}", "-d", name)
    assert not has(docker_registry, "app/manifests/1")
    plain = busybox.work / "plain.tar"
    tar.rename(plain)
    found = skopeo("inspect", "--config", f"docker-archive:{plain}")
    assert found["rootfs"] == skopeo("inspect", "--config", f"oci:{layout}")["rootfs"]
    assert name in json.loads(subprocess.check_output(["tar", "xOf", plain, "manifest.json"]))[0]["RepoTags"]
    executor(busybox, "-c", made, f"--digest-file={digest}", KANIKO_NO_PUSH="true")
    unpushed = digest.read_text()
    executor(busybox, "-c", made, f"--digest-file={digest}", "-d", name, "--tar-path", plain)
    assert digest.read_text() == skopeo("inspect", "--tls-verify=false", f"docker://{name}")["Digest"]
    assert len(unpushed) == len(digest.read_text())
    form = ("-c", made, f"-d={name}", "--image-format=docker", "--compression=gzip", "--compression-level=9")
    executor(busybox, *form, "--single-snapshot", "--annotation=", status=1)
    executor(busybox, *form, "--single-snapshot")
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}")
    assert raw["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"


def test_the_same_image_another_time(busybox: Pybuild, base: str, tmp_path: Path) -> None:
    made = context(busybox, f"FROM {base}\nRUN echo 1 >/x\nRUN mkdir /d && echo 2 >/d/y\n")
    digests = []
    for number in range(2):
        other, file = replace(busybox, root=tmp_path / f"state-{number}"), tmp_path / "digest"
        executor(other, "-c", made, "--no-push", "--reproducible", f"--digest-file={file}")
        digests.append(file.read_text())
    assert digests[0] == digests[1] != ""


def test_paths_that_are_left_out(busybox: Pybuild, base: str, tmp_path: Path) -> None:
    text = f"""FROM {base}
RUN mkdir -p /keep/deep /lost && echo 1 >/keep/deep/a && ln /keep/deep/a /lost/a && echo 2 >/lost/b
RUN ln /lost/b /keep/b && echo 3 >/lost/c && ln /lost/c /zed && ln /lost/c /zee
RUN rm /bin/ls && rm /lost/a && cat /lost/b >/keep/c && mkdir -p /var/run/d /losty && touch /losty/x
"""
    made = context(busybox, text)
    name = "localhost/app"
    said = ("-c", made, "--no-push", "-d", name, "--cache", f"--cache-repo=oci:{tmp_path}/cache")
    look = "find /keep /lost /losty -type f | sort; cat /keep/b /keep/c /zed /zee; stat -c %n /bin/sh /bin/ls; true"
    executor(busybox, *said)
    usual = busybox.sh(look, name)
    executor(busybox, *said, "--ignore-path=/lost", "--ignore-path", "bin/ls", "--ignore-var-run")
    left = busybox.sh(look, name)
    assert "/lost/b" in usual
    assert "/lost/" not in left
    kept = "/keep/b\n/keep/c\n/keep/deep/a\n/losty/x\n2\n2\n3\n3\n"
    assert left == f"{kept}/bin/sh\n/bin/ls\n"
    assert usual.replace("/lost/b\n/lost/c\n", "").startswith(kept)
    assert busybox.sh("ls -d /var/run || true", name) == ""
    history = json.loads(busybox.run("inspect", name).stdout)[0]["Pybuild"]
    assert len([one for one in history["history"] if not one.get("empty_layer")]) == len(history["rootfs"]["diff_ids"])
    elsewhere = replace(busybox, root=tmp_path / "other")  # which has no layer yet
    shown = executor(elsewhere, *said, "--ignore-path=/lost", "--ignore-path=bin/ls", "--ignore-var-run")
    assert "3 from the cache, 0 executed" in shown
    assert elsewhere.sh(look, name) == left
    executor(busybox, *said, "--ignore-path=/lost", "--single-snapshot")
    shown = busybox.sh("find / -xdev 2>/dev/null; true", name)
    assert "/lost\n" not in shown
    assert "/bin/ls\n" not in shown  # which the other paths had kept


def of_files(pybuild: Pybuild, name: str = "localhost/app") -> str:
    """Give what a.txt has in an image."""
    return pybuild.run("cat", f"{name}:/a.txt").stdout


def test_contexts_of_this_container(pybuild: Pybuild, tmp_path: Path) -> None:
    said = ("--no-push", "-d", "localhost/app")
    made = context(pybuild, DOCKERFILE.decode(), a_txt="top", sub__a_txt="below")
    (made / "sub/Dockerfile").write_bytes(DOCKERFILE)
    executor(pybuild, *said, "-c", made)
    assert of_files(pybuild) == "top"
    executor(pybuild, *said, f"--context=dir://{made}/", "--context-sub-path=/sub")
    assert of_files(pybuild) == "below"
    data = gzip.compress(packed(Dockerfile=DOCKERFILE, a_txt=b"packed", sub__a_txt=b"packed below",
                                sub__Dockerfile=DOCKERFILE))  # fmt: skip
    archive = tmp_path / "context.tar.gz"
    archive.write_bytes(data)
    executor(pybuild, *said, f"--context=tar://{archive}")
    assert of_files(pybuild) == "packed"
    executor(pybuild, *said, f"--context=tar://{archive}", "--context-sub-path", "./sub/")
    assert of_files(pybuild) == "packed below"
    assert "the same" in pybuild.run("verify", "localhost/app").stdout
    for more, text in (((), "packed"), (("--context-sub-path=sub",), "packed below")):
        words = [PYBUILD, "executor", *said, "-c", "tar://stdin", *more]
        subprocess.run(words, input=data, check=True, capture_output=True, env=pybuild.environ(), cwd=tmp_path)
        assert of_files(pybuild) == text
    archive.write_bytes(packed(Dockerfile=DOCKERFILE, sub="/etc"))
    assert "has no directory sub" in executor(
        pybuild, *said, f"--context=tar://{archive}", "--context-sub-path=sub", status=1
    )
    archive.write_bytes(data)
    # A build file of this container comes first, as with kaniko, and that is said.
    (pybuild.work / "Dockerfile").write_text("FROM scratch\nCOPY sub/a.txt /\n")
    assert "not of the context" in executor(pybuild, *said, f"--context=tar://{archive}")
    assert of_files(pybuild) == "packed below"
    executor(pybuild, *said, f"--context=tar://{archive}", f"--dockerfile={made}/Dockerfile")
    assert of_files(pybuild) == "packed"


def test_repositories(pybuild: Pybuild, server: str, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repo / "Dockerfile").write_bytes(DOCKERFILE)
    (repo / "a.txt").write_text("first")
    (repo / "sub/Dockerfile").write_bytes(b"FROM scratch\nCOPY file /a.txt\n")
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "three")
    first = git(repo, "rev-parse", "HEAD")
    (repo / "a.txt").write_text("second")
    git(repo, "commit", "-q", "-a", "-m", "four")
    git(repo, "checkout", "-q", "-b", "side")
    (repo / "a.txt").write_text("aside")
    git(repo, "commit", "-q", "-a", "-m", "five")
    git(repo, "checkout", "-q", "main")
    bare = repo.with_name("plain")
    bare.symlink_to("app.git")  # whose URL does not end with .git
    host = server.removeprefix("http://")
    said = ("--no-push", "-d", "localhost/app")
    for place, more, text in (
        (f"{host}/app.git", (), "second"),
        (f"{host}/plain", (), "second"),
        (f"{host}/app.git#refs/heads/side", (), "aside"),
        (f"{host}/plain#side", ("--git=single-branch=true,depth=1",), "aside"),
        (f"{host}/app.git#refs/heads/main#{first}", (), "first"),
        (f"{host}/app.git", ("--git", "branch=side,recurse-submodules=true"), "aside"),
        (f"{host}/app.git", ("--context-sub-path=sub",), "two"),
        (f"{host}/plain#main", ("--context-sub-path=sub",), "two"),
    ):
        executor(pybuild, *said, f"--context=git://{place}", *more, GIT_PULL_METHOD="http")
        assert of_files(pybuild) == text, place
    assert "the same" in pybuild.run("verify", "localhost/app").stdout
    monkeypatch.setattr(Backend, "password", "Basic " + base64.b64encode(b"anna:s3 cret@").decode())
    place = f"--context=git://{host}/app.git"
    shown = executor(pybuild, *said, place, GIT_PULL_METHOD="http", GIT_USERNAME="anna", GIT_PASSWORD="s3 cret@")
    assert "cret" not in shown
    executor(pybuild, *said, place, status=1, GIT_PULL_METHOD="http")
    monkeypatch.setattr(Backend, "password", "Basic " + base64.b64encode(b"t0ken:").decode())
    executor(pybuild, *said, place, GIT_PULL_METHOD="http", GIT_TOKEN="t0ken", GIT_USERNAME="other")
    executor(pybuild, *said, f"--context=git://t0ken@{host}/app.git", GIT_PULL_METHOD="http", GIT_TOKEN="other")
    log = pybuild.run("builds").stdout + pybuild.run("inspect", "localhost/app").stdout
    assert "t0ken" not in log


def test_buckets(pybuild: Pybuild, bucket: Bucket, web: Web, tmp_path: Path) -> None:
    data = gzip.compress(packed(Dockerfile=DOCKERFILE, a_txt=b"of S3", sub__Dockerfile=DOCKERFILE, sub__a_txt=b"sub"))
    key = "path to/context ü.tar.gz"
    bucket.client.put_object(Bucket=s3_server.BUCKET, Key=key, Body=data)
    bucket.client.put_object(Bucket=s3_server.BUCKET, Key="lone", Body=DOCKERFILE)
    said = ("--no-push", "-d", "localhost/app", f"--context=s3://{s3_server.BUCKET}/{key}")
    keys = {**bucket.environ(), "AWS_REGION": "eu-west-1"}
    executor(pybuild, *said, S3_ENDPOINT=bucket.url, S3_FORCE_PATH_STYLE="true", **keys)
    assert of_files(pybuild) == "of S3"
    executor(pybuild, *said, "--context-sub-path=sub", AWS_ENDPOINT_URL_S3=bucket.url, **keys)
    assert of_files(pybuild) == "sub"
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = AKIATEST\naws_secret_access_key = x%y\n")
    pybuild.run("-t", "localhost/app", said[-1].removeprefix("--context="), S3_ENDPOINT=bucket.url,
                AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "credentials"))  # fmt: skip
    assert of_files(pybuild) == "of S3"
    for place, message in (
        (f"{s3_server.BUCKET}/nothing", "there is no object s3://builds/nothing"),
        (f"{s3_server.BUCKET}/lone", "is not a tar archive"),
        (s3_server.BUCKET, "names no object"),
    ):
        shown = executor(pybuild, "--no-push", f"-c=s3://{place}", status=1, S3_ENDPOINT=bucket.url, **keys)
        assert message in shown
    place = said[-1].removeprefix("--context=")
    environ = {**keys, "S3_ENDPOINT": bucket.url}
    shown = pybuild.run("--max-layer-size=100", place, status=125, **environ).stderr
    assert "is larger than the allowed 100 bytes" in shown
    policy = tmp_path / "policy.json"
    rules = [{"action": "DENY", "selector": {"identifier": f"{bucket.url}/*"}}]
    policy.write_text(json.dumps({"rules": rules}))
    assert "policy" in pybuild.run(f"--source-policy-file={policy}", place, status=125, **environ).stderr
    (web.files / "context.tar.gz").write_bytes(data)
    executor(pybuild, "--no-push", "-d", "localhost/app", f"--context={web.url}/context.tar.gz")
    assert of_files(pybuild) == "of S3"


def test_whoever_may_push_is_known_before_the_build(pybuild: Pybuild, docker_registry: Served) -> None:
    made = context(pybuild, "FROM scratch\nCOPY a.txt /\n", a_txt="a")
    with FaultProxy(docker_registry) as proxy:
        proxy.fault("POST", "/blobs/uploads/", lambda request: request.reply(403), times=-1)
        said = ("-c", made, "-d", f"{proxy.host}/app:1")
        shown = executor(pybuild, *said, status=1)
        assert "403" in shown
        assert "COPY" not in shown
        assert "COPY" in executor(pybuild, *said, "--skip-push-permission-check", status=1)


@pytest.mark.either_user
def test_tags_that_may_not_be_moved(pybuild: Pybuild, docker_registry: Served) -> None:
    made = context(pybuild, "FROM scratch\nCOPY a.txt /\n", a_txt="a")
    body = b'{"errors":[{"code":"TAG_INVALID","message":"The image tag \'1\' is immutable"}]}'
    with FaultProxy(docker_registry) as proxy:
        proxy.fault("PUT", "/manifests/1$", lambda request: request.reply(400, body), times=-1)
        said = ("-c", made, "-d", f"{proxy.host}/app:1", "-d", f"{proxy.host}/app:2")
        assert "immutable" in executor(pybuild, *said, status=1)
        shown = executor(pybuild, *said, "--push-ignore-immutable-tag-errors")
        assert "app:1 stays what it is" in shown
        assert has(docker_registry, "app/manifests/2")
        proxy.fault("PUT", "/manifests/2$", lambda request: request.reply(400), times=-1)
        executor(pybuild, *said, "--push-ignore-immutable-tag-errors", status=1)


def test_credentials(pybuild: Pybuild, tmp_path: Path) -> None:
    made = context(pybuild, "FROM scratch\nCOPY a.txt /\n", a_txt="a")
    home = {"HOME": str(tmp_path)}
    with serving(tmp_path / "guarded", basic=True) as guarded:
        said = ("-c", made, "-d", f"{guarded.host}/app:1")
        assert "401" in executor(pybuild, *said, status=1, **home)
        kaniko = tmp_path / "other-kaniko"
        (kaniko / ".docker").mkdir(parents=True)
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        (kaniko / ".docker/config.json").write_text(json.dumps({"auths": {guarded.host: {"auth": auth}}}))
        executor(pybuild, *said, KANIKO_DIR=str(kaniko), **home)
        executor(pybuild, *said, "--kaniko-dir", kaniko, KANIKO_DIR=str(tmp_path / "nowhere"), **home)
        executor(pybuild, *said, KANIKO_DIR=str(kaniko), DOCKER_CONFIG=str(tmp_path), **home)
        (tmp_path / "config.json").write_text("{}")
        executor(pybuild, *said, status=1, KANIKO_DIR=str(kaniko), DOCKER_CONFIG=str(tmp_path), **home)
        gitlab = {"CI_REGISTRY": guarded.host, "CI_REGISTRY_USER": USER, "CI_REGISTRY_PASSWORD": PASSWORD}
        executor(pybuild, *said, **gitlab, **home)
        executor(pybuild, *said, "--credential-helpers=", status=1, **gitlab, **home)
        executor(pybuild, *said, "--credential-helpers=env", "--credential-helpers=ecr", status=1, **gitlab, **home)
        name = re.sub("[.:-]", "_", guarded.host)
        executor(pybuild, *said, **{f"DOCKER_{name}_USR": USER, f"DOCKER_{name}_PSW": PASSWORD}, **home)


def test_base_images_from_elsewhere(pybuild: Pybuild, docker_registry: Served, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    layout.push(docker_registry.host, "mirror/base:1", layout.image([layout.layer(tar_of({"a.txt": "mirrored"}))]))
    made = context(pybuild, "FROM quay.invalid/base:1\n")
    said = ("-c", made, "--no-push", "-d", "localhost/app", f"--oci-layout-path={tmp_path}/written")
    place = f"quay.invalid={docker_registry.host}/mirror"
    executor(pybuild, *said, f"--registry-map=gcr.io=127.0.0.1:1;{place}")
    assert of_files(pybuild) == "mirrored"
    executor(pybuild, *said, KANIKO_REGISTRY_MAP=place)
    only = ("--skip-default-registry-fallback", f"--registry-map=quay.invalid={docker_registry.host}/other")
    shown = executor(pybuild, *said, *only, status=1)
    assert docker_registry.host in shown
    assert "404" in shown
    (made / "Dockerfile").write_text("FROM mirror/base:1\n")
    executor(pybuild, *said, f"--registry-mirror={docker_registry.host}", "--skip-default-registry-fallback")
    assert of_files(pybuild) == "mirrored"


def test_files_in_directories_that_are_closed_and_mounted_ones(pybuild: Pybuild) -> None:
    """As Kubernetes mounts /dev/termination-log."""
    made = context(pybuild, "FROM scratch\nCOPY a.txt /\n", a_txt="a")
    log, own = pybuild.work / "termination-log", pybuild.work / "own"
    log.touch()
    own.touch()
    command = f"mount --bind {own} {log} && {PYBUILD} executor -c {made} --no-push --digest-file {log}"
    subprocess.run(["unshare", "-m", "sh", "-c", command], check=True, env=pybuild.environ(), capture_output=True)
    assert re.fullmatch("sha256:[0-9a-f]{64}", own.read_text())


def test_in_a_container_of_others(busybox: Pybuild, docker_registry: Served, base: str, tmp_path: Path) -> None:
    """Where /proc is masked and no overlay can be made: the image is that of full isolation."""
    made = context(
        busybox, f"FROM {base}\nRUN mkdir /d && echo 1 >/d/x && chown -R 7:8 /d && rm /bin/vi\nCOPY a /\n", a="1"
    )
    said = f"-c {made} --reproducible --ignore-path=/nothing"
    digests = []
    for place in ("full", "nested"):
        file = busybox.work / place
        words = f"{said} -d {docker_registry.host}/app:{place} --digest-file {file}"
        if place == "full":
            executor(busybox, *words.split())
        else:
            done = cage("nested", f'export PYBUILD_ROOT=/state/store\nexec "$0" executor {words}', tmp_path)
            assert done.returncode == 0, done.stderr
        digests.append(file.read_text())
    assert digests[0] == digests[1] != ""


BAD = [
    (["-c", "{context}"], "--destination is missing", "--no-push"),
    (["--no-push"], "there is no directory /workspace/", "mount it there"),
    (["--no-push", "-c", "{context}/nowhere"], "there is no directory", "--context"),
    (["--no-push", "-c", "{context}/Dockerfile"], "there is no directory", "tar://"),
    (["--no-push", "-c", "{context}", "--context-sub-path", "../x"], "leads out of the context", ""),
    (["--no-push", "-c", "gs://bucket/x.tar.gz"], "buckets of Google are not read", "tar:///PATH"),
    (["--no-push", "-c", "ftp://x/y"], "ftp:// is not a kind of context", "git://"),
    (["--no-push", "-c", "tar://{context}/x.tar.gz"], "there is no archive", "tar:///PATH"),
    (["--no-push", "-c", "tar://{context}"], "is a directory, not an archive", "name it alone"),
    (["--no-push", "-c", "tar://{context}/Dockerfile"], "is not a tar archive", "tar -C"),
    (["--no-push", "-c", "git://h/x.git#a#b#c"], "more than a reference and a commit", "#REFERENCE#COMMIT"),
    (["--no-push", "-c", "git://h/x.git#a", "--git=branch=b"], "--git branch=b, and --context says a", "one of them"),
    (["--no-push", "-c", "git://h/x.git", "--git=brnch=b"], "there is no option brnch", "did you mean branch?"),
    (["--no-push", "-c", "git://h/x.git", "--git=insecure-skip-tls=true"], "are always looked at", "SSL_CERT_FILE"),
    (["--no-push", "-c", "{context}", "--dockerfile=Dokerfile"], "Dokerfile", "Dockerfile"),
    (["--no-push", "-c", "{context}", "--tar-path=x.tar"], "--tar-path: the image has no name", "--destination"),
    (["--no-push", "-c", "{context}", "--cache"], "no repository to keep it in", "--cache-repo"),
    (["-c", "{context}", "-d", "a@sha256:" + 64 * "0"], "is pinned to a digest", ""),
    (["--no-push", "-c", "{context}", "--digest-file={context}/nowhere/x"], "nowhere/x cannot be written", ""),
    (["--no-push", "-c", "{context}", "--cache", "--cache-repo=a/b:c"], "is an image, not a repository", "tag"),
    (["--no-push", "-c", "{context}", "--registry-map=x"], "names no other registry", "REGISTRY=OTHER"),
    (["--no-push", "-c", "{context}", "--registry-mirror=ftp://x"], "is not a place of registries", "HOST"),
    (["--no-push", "-c", "{context}", "--registry-certificate=x"], "names no file", "HOST=FILE"),
    (["--no-push", "-c", "{context}", "--registry-certificate=x=/nowhere"], "there is no file /nowhere", ""),
    (["--no-push", "-c", "{context}", "--registry-client-cert=x=/nowhere"], "names no key", "CERTIFICATE,KEY"),
    (["--no-push", "-c", "{context}", "--credential-helpers=gitlub"], "there is no gitlub", "did you mean gitlab?"),
    (["--no-push", "-c", "{context}", "--push-retry=often"], "--push-retry often is not a number", "from 0"),
    (["--no-push", "-c", "{context}", "--compression-level=x"], "x is not a level", "-1"),
    (["--no-push", "-c", "{context}", "--ignore-path=/"], "would leave nothing", ""),
    (["--no-push", "-c", "{context}", "--custom-platform=linux/amd64,linux/arm64"], "names one platform", "several"),
    (["--no-push=maybe", "-c", "{context}"], "neither true nor false", "--no-push=false"),
    (["push", "x.tar"], "`executor push` is not supported", "pybuild load"),
    (["--no-push", "-c", "{context}", "extra"], "extra is one argument too many", "--help"),
]


@pytest.mark.parametrize(("arguments", "message", "hint"), BAD, ids=[one[1] for one in BAD])
def test_bad_input(pybuild: Pybuild, arguments: list[str], message: str, hint: str) -> None:
    if os.path.isdir("/workspace"):
        pytest.skip("there is a /workspace here")
    made = context(pybuild, "FROM scratch\nCOPY a.txt /\n", a_txt="a")
    words = [one.format(context=made) for one in arguments]
    shown = pybuild.run("executor", *words, status=1).stderr
    assert message in shown
    assert hint in shown
