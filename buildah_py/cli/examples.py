"""Examples that `--help` begins with."""

from __future__ import annotations

from typing import Final

OVERVIEW: Final = (
    ("pybuild -t app .", "build the Dockerfile in . as app"),
    ("pybuild run --rm -it app sh", "try what was built"),
    ("pybuild -t quay.io/me/app:1 --push .", "build, and push it"),
    ("pybuild why -t app .", "what would hit the cache or miss, and why"),
)
EXAMPLES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "build": (
        ("pybuild -t app .", "build the Dockerfile in . as app"),
        ("pybuild -f docker/prod --target web -t web .", "another file, one of its stages"),
        ("pybuild -t quay.io/me/app:1 --push .", "push it too"),
        ("pybuild -o out .", "only its files, into the directory out"),
        ("pybuild -o type=oci,dest=app.tar -t app .", "an archive"),
        ("pybuild --secret id=npmrc,src=$HOME/.npmrc .", "for RUN --mount=type=secret,id=npmrc"),
        ("pybuild --cache-from quay.io/me/cache --cache-to quay.io/me/cache .", "share the cache"),
    ),
    "bake": (
        ("pybuild bake", "build the default targets of docker-bake.hcl"),
        ("pybuild bake --print app", "what would be built for app"),
        ("pybuild bake --var TAG=v2 --push app tools", "a variable of the file; push both"),
        ("pybuild bake --set '*.platform=linux/arm64'", "another value for all targets"),
        ("pybuild bake --changed-since origin/main", "what has changed"),
        ("pybuild bake --shards 1/4", "the first of four shares"),
        ("pybuild bake --cluster tls://scheduler:8786", "on the workers of a Dask scheduler"),
        ("pybuild bake --share type=s3,bucket=ci", "on several runners, each step on one of them"),
    ),
    "executor": (
        ("pybuild executor --destination quay.io/me/app --cache=true", "build /workspace and push it, as kaniko"),
        ("pybuild executor -c dir://. --no-push --tar-path app.tar -d app", "an archive, pushed nowhere"),
    ),
    "executor-image": (("pybuild executor-image --push -t quay.io/me/executor", "for pods"),),
    "run": (
        ("pybuild run --rm -it app sh", "a shell in a container"),
        ("pybuild run --rm -v $PWD:/src -w /src app make", "a command on files of this directory"),
        ("pybuild run --rm -p 8080:80 app", "a server that this machine reaches"),
        ("pybuild run -d --name web -p 8080:80 app", "the same in the background"),
    ),
    "ps": (
        ("pybuild ps", "containers that run"),
        ("pybuild ps -a --format '{{.Names}} {{.Status}}'", "names, also of those that have ended, for a script"),
    ),
    "exec": (("pybuild exec -it web sh", "a shell in the container web"),),
    "port": (("pybuild port web 80", "where the container's port 80 is reached"),),
    "shell": (("pybuild shell app", "a shell in an image"), ("pybuild shell --stage build .", "in a stage")),
    "push": (
        ("pybuild push app quay.io/me/app:1", "to a registry"),
        ("pybuild push app oci-archive:app.tar", "to an archive"),
        ("pybuild push app docker-daemon:app", "to Docker or Podman"),
    ),
    "pull": (("pybuild pull debian:12 alpine", "two images, all layers"),),
    "images": (
        ("pybuild images", "all"),
        ("pybuild images --filter dangling=true -q", "ids of those without a name"),
        ("pybuild images --format '{{.Repository}}:{{.Tag}}'", "names, for a script"),
    ),
    "inspect": (
        ("pybuild inspect app", "everything, as JSON"),
        ("pybuild inspect -f '{{json .Config.Env}}' app", "one part of it"),
    ),
    "why": (
        ("pybuild why -t app .", "all steps"),
        ("pybuild why -t app build/3 .", "one step of the stage build"),
        ("pybuild why --against ci.record .", "against the build that wrote that record"),
    ),
    "advice": (("pybuild advice .", "what the steps of ./Dockerfile need, and what they are given"),),
    "prune": (
        ("pybuild prune", "what no named image needs"),
        ("pybuild prune --dry-run -a", "what everything would be"),
        ("pybuild prune --max-used-space 20GB", "the least recently used, down to a size"),
    ),
    "builds": (("pybuild builds", "the last ones"), ("pybuild builds app", "the last of app, step by step")),
    "logs": (
        ("pybuild logs", "of the last build"),
        ("pybuild logs app 3", "one step of the last build of app"),
        ("pybuild logs -f --since 10m web", "of the container web, and what comes"),
    ),
    "report": (("pybuild report -o app.html app", "a page about the last build of app"),),
    "serve": (
        ("pybuild serve", "for DOCKER_HOST=unix:///run/pybuild.sock"),
        ("pybuild serve --socket /tmp/engine.sock --idle 600", "elsewhere, and not for ever"),
    ),
    "install": (
        ("pybuild install docker-plugin", "`docker build` is pybuild from now on, for this user"),
        ("pybuild install docker-plugin --system", "for all users"),
    ),
    "buildx": (
        ("pybuild buildx ls", "what `docker buildx ls` prints where pybuild is docker's plug-in"),
        ("pybuild buildx imagetools inspect quay.io/me/app:1", "what a registry has under a name"),
    ),
    "config": (
        ("pybuild config", "what holds, and where it comes from"),
        ("pybuild config set progress plain", "in this user's file"),
    ),
    "check": (("pybuild check .", "mistakes in the build file"), ("pybuild check --strict .", "fail for warnings too")),
    "sbom": (
        ("pybuild sbom app", "what is in it, as SPDX"),
        ("pybuild sbom --format table app", "for people"),
        ("pybuild sbom docker://quay.io/me/app:1", "what was attached to it where it was pushed"),
    ),
    "verify-signature": (("pybuild verify-signature --key cosign.pub quay.io/me/app:1", "prints it by its digest"),),
    "cp": (("pybuild cp app:/usr/bin/tool .", "a file out of an image"),),
    "save": (("pybuild save -o app.tar app", "an archive for docker load and podman load"),),
    "load": (("pybuild load -i app.tar", "all images of an archive"),),
    "bootstrap": (("pybuild bootstrap debian", "a base image without a registry"),),
    "login": (("pybuild login quay.io", "asks for name and password"),),
    "manifest": (
        ("pybuild manifest create app app-amd64 app-arm64", "several platforms under one name"),
        ("pybuild manifest push --all app quay.io/me/app:1", "and to a registry"),
    ),
    "completion": (
        ("pybuild completion bash >~/.local/share/bash-completion/completions/pybuild", ""),
        ("pybuild completion zsh >~/.zfunc/_pybuild", "where fpath has ~/.zfunc"),
        ("pybuild completion fish >~/.config/fish/completions/pybuild.fish", ""),
    ),
}


def shown(examples: tuple[tuple[str, str], ...], width: int) -> str:
    """Lay examples out, each with its remark beside or above it."""
    column = max((len(line) for line, _ in examples if len(line) < width // 2), default=0)
    lines = ["examples:"]
    for line, remark in examples:
        if not remark or (len(line) <= column and len(remark) <= width - column - 4):
            lines.append(f"  {line:<{column}}  {remark}".rstrip())
        else:
            lines += [f"  # {remark}", f"  {line}"]
    return "\n".join(lines)
