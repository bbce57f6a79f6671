"""Try pybuild as docker's plug-in, with docker's own command line, Compose and an engine: scripts that people have.

    DOCKER_HOST=unix:///run/docker.sock scripts/run python scripts/try_docker_plugin.py [-k TEXT] [--compose FILE]

Each scenario is a shell script, which fails where a command does. It has a directory and a state directory of its own,
the latter with the image busybox. `--compose` names docker's plug-in for Compose; without it, and where pybuild has no
`bake`, those scenarios are passed over, and said to be; `--registry` names one that both the engine and this program
reach and may push to. The engine's images of earlier runs are removed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

PYBUILD = str(Path(sys.executable).with_name("pybuild"))
HEAD = """set -eu
run() { docker run --rm --network none "$@"; }
id_of() { docker image inspect --format '{{.Id}}' "$1"; }
same() { [ "$1" = "$2" ] || { echo "<$1> is not <$2>"; exit 1; }; }
fails() { if "$@" >out 2>&1; then echo "it did not fail: $*"; cat out; exit 1; else echo $? >status; fi; }
has() { grep -q -- "$2" "$1" || { echo "no <$2> in:"; cat "$1"; exit 1; }; }
hasnot() { ! grep -q -- "$2" "$1" || { echo "<$2> is in:"; cat "$1"; exit 1; }; }
json() { python3 -c "import json,sys; d=json.load(open(sys.argv[1])); print(eval(sys.argv[2]))" "$1" "$2"; }
cat >Dockerfile <<END
FROM busybox AS base
ARG WHO=world
RUN echo hello \\$WHO >/greeting
FROM base AS test
RUN touch /tested
FROM base
COPY file /
LABEL own=1
CMD cat /greeting
END
echo content >file
"""
BUILD = "docker build"
BUILDX = "docker buildx build"


class Scenario(NamedTuple):
    """A script and what it needs besides docker: `bake`, `compose` or `registry`."""

    name: str
    script: str
    needs: str = ""


SCENARIOS: list[Scenario] = []


def add(name: str, script: str, needs: str = "") -> None:
    """Have another scenario."""
    SCENARIOS.append(Scenario(name, script, needs))


# What people type.
add("tag", f"{BUILD} -t app .; same \"$(run app)\" 'hello world'")
add("quiet-id-runs", f'same "$(run $({BUILD} -q .))" "hello world"')
add("buildx-with-load", f"{BUILDX} --load -t app .; same \"$(run app)\" 'hello world'")
add("buildx-without-load", f"{BUILDX} -t app .; same \"$(run app)\" 'hello world'")
add("image-build", "docker image build -t app .; run app")
add("builder-build", "docker builder build -t app .; run app")
add("two-tags", f'{BUILD} -t app:1 -t other/app:2 .; same "$(id_of app:1)" "$(id_of other/app:2)"')
add("build-arg", f"{BUILD} --build-arg WHO=you -t app .; same \"$(run app)\" 'hello you'")
add("build-arg-from-environment", f"WHO=me {BUILD} --build-arg WHO -t app .; same \"$(run app)\" 'hello me'")
add("target", f"{BUILD} --target test -t app .; run app ls /tested")
add("target-by-number", f"{BUILD} --target 1 -t app .; run app ls /tested")
add("other-file", f"mkdir d; mv Dockerfile d/F; {BUILD} -f d/F -t app .; run app")
add("file-from-stdin", f"{BUILD} -t app -f - . <Dockerfile; run app")
add("context-from-stdin", f"tar c Dockerfile file | {BUILD} -t app -; run app")
add("compressed-context-from-stdin", f"tar cz Dockerfile file | {BUILD} -t app -; run app")
add("file-alone-from-stdin", f"printf 'FROM busybox\\nCMD echo lone' | {BUILD} -t app -; same \"$(run app)\" lone")
add(
    "labels",
    f"{BUILD} --label a=b --label 'c=d e' -t app .;"
    " same \"$(docker image inspect --format '{{index .Config.Labels \"c\"}}' app)\" 'd e'",
)
add("dockerignore", f"printf 'file\\n' >.dockerignore; fails {BUILD} -t app .; has out file")
add("own-ignore-file", f"printf 'file\\n' >Dockerfile.dockerignore; fails {BUILD} .; has out file")
add("no-cache", f"{BUILD} -t app . 2>out; {BUILD} --no-cache -t app . 2>out; hasnot out '2/.*CACHED'; run app")
add("cached", f"{BUILD} -t app .; {BUILD} -t app . 2>out; has out CACHED; has out 'has the image already'")
add("no-cache-filter", f"{BUILDX} -t app .; {BUILDX} --no-cache-filter base -t app . ; run app")
add(
    "secret",
    f"printf 'FROM busybox\\nRUN --mount=type=secret,id=s cat /run/secrets/s >/got\\n' >Dockerfile;"
    f' echo shh >s; {BUILD} --secret id=s,src=s -t app .; same "$(run app cat /got)" shh',
)
add(
    "secret-from-environment",
    f"printf 'FROM busybox\\nRUN --mount=type=secret,id=S cat /run/secrets/S >/got\\n' >Dockerfile;"
    f' S=env {BUILD} --secret id=S -t app .; same "$(run app cat /got)" env',
)
add(
    "cache-mount",
    f"printf 'FROM busybox\\nARG N\\nRUN --mount=type=cache,target=/c echo $N >>/c/l && cp /c/l /l\\n' >Dockerfile;"
    f' {BUILD} --build-arg N=1 -t app .; {BUILD} --build-arg N=2 -t app .; same "$(run app cat /l | tail -1)" 2',
)
add(
    "heredoc",
    "printf 'FROM busybox\\nRUN <<E\\necho in >/h\\nE\\nCOPY <<F /f\\ntext\\nF\\n' >Dockerfile;"
    f" {BUILD} -t app .; same \"$(run app cat /h /f | tr '\\n' ' ')\" 'in text '",
)
add(
    "build-context",
    f"mkdir o; echo other >o/x; printf 'FROM busybox\\nCOPY --from=o x /\\n' >Dockerfile;"
    f' {BUILD} --build-context o=o -t app .; same "$(run app cat /x)" other',
)
add(
    "image-as-context",
    f"printf 'FROM nowhere\\nCMD echo swapped' >Dockerfile;"
    f' {BUILD} --build-context nowhere=docker-image://busybox -t app .; same "$(run app)" swapped',
)
add("add-host", f"printf 'FROM busybox\\nRUN grep 1.2.3.4 /etc/hosts\\n' >Dockerfile; {BUILD} --add-host h:1.2.3.4 .")
add("network-none", f"{BUILD} --network none -t app .; run app")
add(
    "shm-and-ulimits",
    f"printf 'FROM busybox\\nRUN ulimit -n >/n\\n' >Dockerfile;"
    f' {BUILD} --ulimit nofile=99:99 --shm-size 10m -t app .; same "$(run app cat /n)" 99',
)
add(
    "annotation",
    f"{BUILDX} --annotation a=b --output type=oci,dest=x.tar . ; tar xOf x.tar index.json >i; tar tf x.tar >l; has l blobs",
)
add("no-provenance", f"{BUILDX} --provenance=false --sbom=false --load -t app . 2>out; hasnot out 'no effect'; run app")
# Files that tell of the image, and ways of showing.
add("iidfile", f'{BUILD} --iidfile i -t app .; same "$(cat i)" "$(id_of app)"')
add(
    "metadata-file",
    f'{BUILD} --metadata-file m -t app:1 .; same "$(json m \'d["containerimage.digest"]\')" "$(id_of app:1)";'
    ' same "$(json m \'d["image.name"]\')" docker.io/library/app:1; json m \'d["buildx.build.ref"].split("/")[2]\'',
)
add(
    "history-of-a-build",
    f"{BUILD} --metadata-file m . ; ref=$(json m 'd[\"buildx.build.ref\"]'); docker buildx history logs"
    ' "$ref" >l; docker buildx history inspect "$ref" >i; has i hello; docker buildx history ls >h; has h DONE',
)
add("progress-plain", f"{BUILD} --progress plain . 2>out; has out '^#1 '")
add(
    "progress-rawjson",
    f"{BUILD} --progress rawjson . 2>out; python3 -c \"import json; [json.loads(l) for l in open('out')]\"; has out vertexes",
)
add("progress-variable", f"BUILDKIT_PROGRESS=rawjson {BUILD} . 2>out; has out vertexes")
add("quiet-says-nothing-else", f"{BUILD} -q . >out 2>err; [ ! -s err ]; has out '^sha256:'")
add(
    "check",
    f"{BUILDX} --check . >out || true; {BUILDX} --call=outline . >out; has out WHO; {BUILDX} --call=targets . >out; has out test",
)
# Other outputs.
add(
    "local-output",
    f"{BUILDX} --output out . ; same \"$(cat out/greeting)\" 'hello world'; fails docker image inspect app",
)
add("local-output-long", f"{BUILDX} -o type=local,dest=out --target test .; [ -e out/tested ]")
add("tar-output", f"{BUILDX} -o type=tar,dest=x.tar .; tar tf x.tar >l; has l greeting")
add("tar-on-stdout", f"{BUILDX} -o - . >x.tar; tar tf x.tar >l; has l greeting")
add(
    "oci-archive",
    f"{BUILDX} -o type=oci,dest=x.tar -t app .; tar tf x.tar >l; has l index.json; fails docker image inspect app",
)
add(
    "docker-archive",
    f"{BUILDX} -o type=docker,dest=x.tar -t app .; docker load -i x.tar; same \"$(run app)\" 'hello world'",
)
add("cacheonly", f"{BUILDX} -o type=cacheonly .; fails docker image inspect app")
add("two-outputs", f"{BUILDX} -o type=docker -o type=oci,dest=x.tar -t app .; run app; [ -s x.tar ]")
add("no-default-load", f"BUILDX_NO_DEFAULT_LOAD=1 {BUILD} -t app .; fails docker image inspect app")
add(
    "shared-cache",
    f"{BUILDX} --cache-to type=local,dest=c -t app .; [ -d c ]; {BUILDX} --cache-from type=local,src=c -t app .; run app",
)
# Failures.
add(
    "failing-run",
    f"printf 'FROM busybox\\nRUN exit 7\\n' >Dockerfile; fails {BUILD} .; same \"$(cat status)\" 1; has out 'Dockerfile:2'",
)
add("bad-file", f"echo RUNN >>Dockerfile; fails {BUILD} .; same \"$(cat status)\" 1; has out 'RUNN'")
add("no-file", f'rm Dockerfile; fails {BUILD} .; same "$(cat status)" 1; has out Dockerfile')
add("no-context", f'fails {BUILD} nowhere; same "$(cat status)" 1; has out nowhere')
add("unknown-flag", f"fails {BUILD} --nope .; has out nope")
add("engine-not-there", "fails docker -H unix:///nowhere/s buildx build .; has out /nowhere/s; hasnot out '#2'")
add("unknown-builder", f"fails {BUILDX} --builder nope .; has out 'no builder \"nope\" found'")
add(
    "interrupted",
    f"printf 'FROM busybox\\nRUN sleep 86399\\n' >Dockerfile; {BUILD} . >out 2>&1 & p=$!; sleep 3; kill -INT $p;"
    " wait $p && exit 1; ! pgrep -fx 'sleep 86399'",
)
add(
    "docker-is-killed",
    f"printf 'FROM busybox\\nRUN sleep 86398\\n' >Dockerfile; {BUILD} . >out 2>&1 & p=$!; sleep 3; kill -9 $p;"
    " sleep 2; ! pgrep -fx 'sleep 86398'",
)
# Builders.
add(
    "builder-life",
    "docker buildx create --name x --use; docker buildx inspect --bootstrap >o; has o 'running'; docker buildx ls >o;"
    f" has o 'x[*]'; {BUILDX} -t app .; fails docker image inspect app; {BUILDX} --load -t app .; run app; docker buildx rm x; docker buildx stop",
)
add(
    "du-and-prune",
    f"{BUILD} -t app .; docker buildx du >o; docker builder prune -f; docker buildx prune -af --builder default; run app",
)
add("version", "docker buildx version >o; has o '^github.com/docker/buildx v[0-9]'; docker info >o 2>&1; has o buildx")
# What others call.
add(
    "build-push-action",
    "docker buildx create --name builder-1f --driver docker-container --buildkitd-flags "
    "'--allow-insecure-entitlement security.insecure --allow-insecure-entitlement network.host' --use;"
    " docker buildx inspect --bootstrap --builder builder-1f; docker buildx build --allow network.host"
    " --build-arg WHO=ci --file ./Dockerfile --iidfile $PWD/i --label org.opencontainers.image.revision=abc --tag app:latest"
    " --tag app:1 --load --metadata-file $PWD/m --builder builder-1f .; docker buildx inspect builder-1f >o; has o 'Driver:';"
    " same \"$(run app:1)\" 'hello ci'; json m 'd[\"containerimage.digest\"]'; docker buildx rm builder-1f",
)
add(
    "build-push-action-provenance",
    "docker buildx build --attest type=provenance,disabled=true --file Dockerfile --iidfile i"
    " --tag app:latest --load --metadata-file m --platform linux/amd64 .; run app",
)
add(
    "build-push-action-cache",
    "docker buildx build --cache-from type=local,src=c --cache-to type=local,dest=c,mode=max"
    " --iidfile i --tag app --output type=docker --metadata-file m .; run app",
)
add(
    "goreleaser",
    "docker build -t app:1 --platform=linux/amd64 --label=org.opencontainers.image.title=app"
    " --build-arg=WHO=release . --file Dockerfile; run app:1",
)
add(
    "goreleaser-buildx",
    "docker buildx --builder default build . --load -t app:1 --platform=linux/amd64 --pull=false; run app:1",
)
add(
    "devcontainer-cli",
    "docker buildx version; docker buildx build --load --build-arg BUILDKIT_INLINE_CACHE=1 -f $PWD/Dockerfile"
    " -t vsc-app --target test --build-arg WHO=dev $PWD; run vsc-app ls /tested",
)
add("act", "docker build -t act-app --platform linux/amd64 -f Dockerfile .; run act-app")
add("skaffold", "docker build . --file Dockerfile -t app:tag --build-arg WHO=sk --target test; run app:tag ls /tested")
add("testcontainers", "docker build --force-rm --rm -t app .; run app")
# Registries.
add(
    "push",
    f"{BUILDX} --push --metadata-file m -t $REGISTRY/app:1 .; run $REGISTRY/app:1;"
    " docker rmi $REGISTRY/app:1; docker pull $REGISTRY/app:1; same \"$(run $REGISTRY/app:1)\" 'hello world';"
    ' docker image inspect --format "{{.RepoDigests}}" $REGISTRY/app:1 >o; has o "$(json m \'d["containerimage.digest"]\')"',
    "registry",
)
add("push-and-load", f"{BUILDX} --push --load -t $REGISTRY/app:2 .; run $REGISTRY/app:2", "registry")
add(
    "push-by-docker",
    f"{BUILD} -t $REGISTRY/app:3 .; docker push $REGISTRY/app:3; docker rmi $REGISTRY/app:3; docker pull $REGISTRY/app:3",
    "registry",
)
add(
    "build-push-action-push",
    "docker buildx create --name b --driver docker-container --use; docker buildx build --builder b --push"
    " --cache-from type=registry,ref=$REGISTRY/app:cache --cache-to type=registry,ref=$REGISTRY/app:cache,mode=max"
    " --iidfile i --metadata-file m --provenance=false --tag $REGISTRY/app:4 --tag $REGISTRY/app:5 .;"
    " docker pull $REGISTRY/app:5; same \"$(run $REGISTRY/app:5)\" 'hello world'",
    "registry",
)
add(
    "build-push-action-by-digest",
    "docker buildx build --platform linux/amd64 --metadata-file m"
    " --output type=image,name=$REGISTRY/digest,push-by-digest=true,name-canonical=true,push=true .;"
    " digest=$(json m 'd[\"containerimage.digest\"]'); docker buildx imagetools create -t $REGISTRY/digest:all $REGISTRY/digest@$digest;"
    ' docker buildx imagetools inspect $REGISTRY/digest:all >o; has o linux/amd64; has o "$digest";'
    ' docker buildx imagetools inspect --raw $REGISTRY/digest:all >o; json o \'d["manifests"][0]["digest"]\';'
    " docker pull $REGISTRY/digest:all; run $REGISTRY/digest:all",
    "registry",
)
add(
    "several-platforms",
    f"printf 'FROM scratch\\nCOPY file /\\n' >Dockerfile; {BUILDX} --platform linux/amd64,linux/arm64 --push -t $REGISTRY/many:1 .;"
    " docker buildx imagetools inspect $REGISTRY/many:1 >o; has o linux/amd64; has o linux/arm64; docker pull $REGISTRY/many:1",
    "registry",
)
# Compose and bake.
COMPOSE = """cat >compose.yaml <<END
services:
  web: {build: {context: ., args: {WHO: compose}, labels: {x: y}}, image: web, network_mode: none}
  test: {build: {context: ., target: test}, network_mode: none}
END
"""
add(
    "compose-build",
    COMPOSE + "docker compose -p p build; same \"$(run web)\" 'hello compose'; run p-test ls /tested",
    "compose",
)
add(
    "compose-build-one",
    COMPOSE + "docker compose -p p build web; run web; fails docker image inspect p-test",
    "compose",
)
add(
    "compose-build-arguments",
    COMPOSE + "docker compose -p p build --build-arg WHO=it web; same \"$(run web)\" 'hello it'",
    "compose",
)
add("compose-no-cache", COMPOSE + "docker compose -p p build --no-cache --progress plain web; run web", "compose")
add("compose-quiet", COMPOSE + "docker compose -p p build -q web; run web", "compose")
add(
    "compose-up",
    COMPOSE + "docker compose -p p up --build web >out 2>&1; has out 'hello compose'; docker compose -p p down",
    "compose",
)
add(
    "compose-failure",
    "cat >compose.yaml <<END\nservices:\n  web: {build: {context: ., dockerfile: F}}\nEND\n"
    "printf 'FROM busybox\\nRUN exit 9\\n' >F; fails docker compose -p p build; has out 'status 9'",
    "compose",
)
add(
    "compose-inline-file",
    "cat >compose.yaml <<'END'\nservices:\n  web:\n    image: web\n    build:\n      context: .\n"
    '      dockerfile_inline: |\n        FROM busybox\n        CMD echo inline\nEND\ndocker compose -p p build; same "$(run web)" inline',
    "compose",
)
add(
    "compose-secret",
    "cat >compose.yaml <<'END'\nservices:\n  web:\n    image: web\n    build:\n      context: .\n"
    "      dockerfile: F\n      secrets: [s]\nsecrets: {s: {file: ./s}}\nEND\necho shh >s\n"
    "printf 'FROM busybox\\nRUN --mount=type=secret,id=s cp /run/secrets/s /got\\n' >F\ndocker compose -p p build;"
    ' same "$(run web cat /got)" shh',
    "compose",
)
BAKE = """cat >docker-bake.hcl <<'END'
variable "WHO" { default = "bake" }
group "default" { targets = ["one", "two"] }
target "one" {
  tags = ["one"]
  args = { WHO = WHO }
}
target "two" {
  inherits = ["one"]
  target = "test"
  tags = ["two"]
}
END
"""  # fmt: skip
add(
    "bake",
    BAKE + "docker buildx bake; same \"$(run one)\" 'hello bake'; run two ls /tested",
    "bake",
)
add(
    "bake-set",
    BAKE + "WHO=v docker buildx bake --set one.args.WHO=set one; same \"$(run one)\" 'hello set'",
    "bake",
)


def missing(scenario: Scenario, *, bake: bool, compose: bool) -> str:
    """Say what a scenario needs that is not there."""
    if scenario.needs == "registry":
        return "" if os.environ.get("REGISTRY") else "no --registry"
    if scenario.needs and not bake:
        return "pybuild has no bake"
    return "no --compose" if scenario.needs == "compose" and not compose else ""


def main() -> int:
    """Run the scenarios; 1 where one fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-k", metavar="TEXT", default="", help="only scenarios with that in their names")
    parser.add_argument("--compose", metavar="FILE", help="docker's plug-in for Compose")
    parser.add_argument("--base", metavar="ARCHIVE", help="root file system of busybox; default: bootstrapped")
    parser.add_argument("--registry", metavar="HOST", help="registry that may be pushed to")
    args = parser.parse_args()
    if args.registry:
        os.environ["REGISTRY"] = args.registry
    if not os.environ.get("DOCKER_HOST") or shutil.which("docker") is None:
        sys.exit("name an engine with DOCKER_HOST, and have docker's command line installed")
    bake = subprocess.run([PYBUILD, "bake", "--help"], check=False, capture_output=True).returncode == 0
    failed = passed = 0
    with tempfile.TemporaryDirectory(prefix="pybuild-docker-") as text:
        place = Path(text)
        environ = {**os.environ, "DOCKER_CONFIG": text, "PYBUILD_ROOT": str(place / "base")}
        base = ["import", "-t", "busybox", args.base] if args.base else ["bootstrap", "busybox"]
        subprocess.run([PYBUILD, *base], check=True, env=environ, stdout=subprocess.DEVNULL)
        for scenario in SCENARIOS:
            if args.k not in scenario.name:
                continue
            if why := missing(scenario, bake=bake, compose=bool(args.compose)):
                sys.stdout.write(f"passed over  {scenario.name}: {why}\n")
                continue
            began = time.monotonic()
            result = attempt(scenario, place, environ, args.compose)
            passed, failed = passed + (not result), failed + bool(result)
            took = time.monotonic() - began
            sys.stdout.write(f"{'FAILED      ' if result else 'ok          '} {scenario.name} {took:.1f}s\n{result}")
            sys.stdout.flush()
    sys.stdout.write(f"{passed} ok, {failed} failed\n")
    return 1 if failed else 0


def attempt(scenario: Scenario, place: Path, environ: dict[str, str], compose: str | None) -> str:
    """Run one; "" where it passes, else what it printed."""
    work, config, root = place / scenario.name, place / f"{scenario.name}.docker", place / f"{scenario.name}.root"
    work.mkdir()
    subprocess.run(["cp", "-a", place / "base", root], check=True)
    own = {**environ, "DOCKER_CONFIG": str(config), "PYBUILD_ROOT": str(root)}
    subprocess.run([PYBUILD, "install", "docker-plugin"], check=True, env=own, stdout=subprocess.DEVNULL)
    if compose:
        shutil.copy(compose, config / "cli-plugins" / "docker-compose")
    there = subprocess.run(["docker", "images", "-q"], check=True, env=own, capture_output=True, text=True).stdout
    if there:
        subprocess.run(["docker", "rmi", "-f", *set(there.split())], check=True, env=own, capture_output=True)
    shell = ["sh", "-c", HEAD + scenario.script]
    done = subprocess.run(shell, check=False, env=own, cwd=work, capture_output=True, text=True, timeout=300)
    shutil.rmtree(root)
    if done.returncode == 0:
        return ""
    return "".join(f"    {line}\n" for line in (done.stdout + done.stderr).splitlines()[-25:])


if __name__ == "__main__":
    sys.exit(main())
