"""The flags of kaniko's executor, and what becomes of each here: those of its README, and the others that it has.

One table, of which `pybuild executor` declares its options, and docs/flags.md is made.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from buildah_py.cli.flags import ANYTHING, DIFFERS, NOTE, REFUSED, SAME, Foreign, ForeignFlag
from buildah_py.errors import UsageError
from buildah_py.image import numbers

if TYPE_CHECKING:
    from buildah_py.cli.arguments import Parser

_FILE: Final = "FILE"
_HOST: Final = "HOST"
_RETRIES: Final = "pybuild tries five times by itself what is worth it, and more often where more is asked for"
_INSECURE: Final = "the registries of --destination and --cache-repo: any certificate, or plain HTTP"
_CLEAN: Final = "steps leave nothing behind in the container that the next build could meet"
LEVELS: Final = ("panic", "fatal", "error", "warn", "info", "debug", "trace")


def _kaniko(name: str, decision: str, text: str = "", instead: str = "", **more: Any) -> ForeignFlag:
    return ForeignFlag(name, False, False, decision, text, instead, **more)


TABLE: Final = (
    _kaniko("annotation", SAME, "annotation of the manifest", value="K=V", many=True, means="--annotation"),
    _kaniko("bucket", REFUSED, "kaniko has given it up itself", "--context gs://BUCKET/… says the same",
            value="BUCKET", spelled=("-b",), fine=("",)),
    _kaniko("build-arg", SAME, "value of an ARG; `K` alone takes it from the environment", value="K=V", many=True,
            means="--build-arg"),
    _kaniko("cache", DIFFERS, "share steps with other builds by a repository; without it every step is executed."
            " Pybuild's own form of a cache, of RUN, COPY and ADD in all stages"),
    _kaniko("cache-copy-layers", NOTE, "with --cache all steps are cached", fine=("true",)),
    _kaniko("cache-dir", NOTE, "base images are in the state directory: mount the volume there, and `pybuild pull`"
            " warms it; or build with --build-context NAME=oci-layout://DIR", value="DIR", fine=("", "/cache")),
    _kaniko("cache-repo", DIFFERS, "repository of the cache; else that of the first --destination and `/cache`."
            " `oci:DIR` is a directory. Each --destination, --target and --dockerfile has a tag of its own there",
            value="REPO"),
    _kaniko("cache-run-layers", DIFFERS, "with false, every step is executed, COPY and ADD too", usual="true"),
    _kaniko("cache-ttl", SAME, "execute again what was executed longer than that ago; default: 336h", value="DURATION",
            usual="336h"),
    _kaniko("cleanup", NOTE, _CLEAN, fine=(ANYTHING,)),
    _kaniko("compressed-caching", NOTE, "layers are compressed piece by piece, in little memory", fine=(ANYTHING,)),
    _kaniko("compression", SAME, "compression of layers", value="NAME", choices=("gzip", "zstd"),
            means="--compression-format"),
    _kaniko("compression-level", SAME, "level of that; -1 for the usual one", value="LEVEL", usual="-1"),
    _kaniko("context", DIFFERS, "a directory, dir://, tar://, tar://stdin, git:// or s3://; https:// is an archive from"
            " a web server; default: /workspace/", value="PLACE", spelled=("-c",), usual="/workspace/"),
    _kaniko("context-sub-path", SAME, "directory inside of the context to take for it", value="DIR"),
    _kaniko("credential-helpers", DIFFERS, "for registries that no file of credentials knows, of env, google, ecr, acr,"
            " gitlab; default: all, none for an empty one. The clouds' are programs, asked where they are installed:"
            " docker-credential-gcr or -gcloud, -ecr-login, -acr-env", value="NAME", many=True),
    _kaniko("custom-platform", SAME, "platform of the image", value="OS/ARCH", spelled=("--customPlatform",),
            means="--platform"),
    _kaniko("destination", SAME, "name to push the image under; may be repeated", value="NAME[:TAG]", spelled=("-d",),
            many=True),
    _kaniko("digest-file", SAME, "write the digest of the image's manifest to FILE", value=_FILE),
    _kaniko("dockerfile", SAME, "build file: a path, looked for in the current directory and then in the context, or a"
            " URL; default: Dockerfile", value=_FILE, spelled=("-f",), usual="Dockerfile"),
    _kaniko("dryrun", REFUSED, "a plan is another command", "`pybuild why`, or `pybuild --call graph`",
            fine=("false",)),
    _kaniko("force", NOTE, "pybuild builds anywhere", fine=(ANYTHING,)),
    _kaniko("git", DIFFERS, "of a repository as the context: branch=NAME, recurse-submodules=true. One commit is"
            " fetched, whatever single-branch and depth say; insecure-skip-tls=true is refused", value="K=V[,…]"),
    _kaniko("ignore-path", DIFFERS, "what steps do there, or below, is not in the image; steps see it, and the cache"
            " has it", value="PATH", many=True),
    _kaniko("ignore-var-run", DIFFERS, "the same for /var/run; off without it: what a RUN writes there is in the image,"
            " as with docker"),
    _kaniko("image-download-retry", DIFFERS, _RETRIES, value="TIMES", usual="0"),
    _kaniko("image-format", SAME, "docker or oci: media types of what is written out; default: oci", value="FORMAT",
            choices=("docker", "oci"), means="--format"),
    _kaniko("image-fs-extract-retry", NOTE, "layers are unpacked when all of them are here", value="TIMES",
            fine=(ANYTHING,)),
    _kaniko("image-name-tag-with-digest-file", SAME, "write a line NAME:TAG@DIGEST for each --destination to FILE",
            value=_FILE),
    _kaniko("image-name-with-digest-file", SAME, "write a line NAME@DIGEST for each --destination to FILE",
            value=_FILE),
    _kaniko("insecure", DIFFERS, _INSECURE),
    _kaniko("insecure-pull", DIFFERS, "of all registries that images are pulled from: any certificate, or plain HTTP"),
    _kaniko("insecure-registry", DIFFERS, "any certificate, or plain HTTP, for this registry", value=_HOST, many=True),
    _kaniko("kaniko-dir", DIFFERS, "directory of .docker/config.json and ssl/certs; default: /kaniko. Nothing is moved",
            value="DIR"),
    _kaniko("label", SAME, "label of the image", value="K=V", many=True, means="--label"),
    _kaniko("log-format", DIFFERS, "text: no colours; json: pybuild's events; default: color", value="FORMAT",
            choices=("text", "color", "json"), usual="color"),
    _kaniko("log-timestamp", NOTE, "lines of a step's output have the seconds since it began", fine=("false",)),
    _kaniko("materialize", REFUSED, "a build leaves no files of the image in the container",
            "`-o DIR` of `pybuild build` writes them to a directory", fine=("false",)),
    _kaniko("no-push", SAME, "build alone, and push nothing but the cache"),
    _kaniko("no-push-cache", SAME, "read the cache, and push nothing to it"),
    _kaniko("oci-layout-path", SAME, "write the image as an OCI layout to DIR", value="DIR"),
    _kaniko("pre-cleanup", NOTE, _CLEAN, fine=(ANYTHING,)),
    _kaniko("preserve-context", NOTE, "builds do not change their context", fine=(ANYTHING,)),
    _kaniko("push-ignore-immutable-tag-errors", SAME, "a tag that is there and may not be moved is no failure"),
    _kaniko("push-retry", DIFFERS, _RETRIES, value="TIMES", usual="0"),
    _kaniko("registry-certificate", SAME, "file with a CA to trust for a registry", value="HOST=FILE", many=True),
    _kaniko("registry-client-cert", SAME, "certificate and key to show to a registry", value="HOST=CERT,KEY",
            many=True),
    _kaniko("registry-map", SAME, "pull from others what names a registry, and from it what they lack",
            value="HOST=OTHER[;…]", many=True),
    _kaniko("registry-mirror", SAME, "the same for Docker Hub", value="OTHER", many=True),
    _kaniko("reproducible", DIFFERS, "all times of the image are 1970; the base image's layers stay as they are"),
    _kaniko("secret", SAME, "id=ID,src=FILE or id=ID,env=NAME, for RUN --mount=type=secret", value="SPEC", many=True,
            means="--secret"),
    _kaniko("single-snapshot", SAME, "make one layer of those that the build adds", means="--squash"),
    _kaniko("skip-default-registry-fallback", SAME, "pull from --registry-mirror and --registry-map alone"),
    _kaniko("skip-push-permission-check", SAME, "do not see before the build whether --destination may be pushed to"),
    _kaniko("skip-tls-verify", DIFFERS, _INSECURE),
    _kaniko("skip-tls-verify-pull", DIFFERS, "the same as --insecure-pull"),
    _kaniko("skip-tls-verify-registry", DIFFERS, "the same as --insecure-registry", value=_HOST, many=True),
    _kaniko("skip-unused-stages", NOTE, "stages that the target does not need are never built", fine=("true",)),
    _kaniko("snapshot-mode", NOTE, "what a step changed is always known exactly", value="MODE",
            choices=("full", "redo", "time"), spelled=("--snapshotMode",), fine=(ANYTHING,)),
    _kaniko("tar-path", SAME, "write the image as an archive for `docker load` to FILE; it is named as --destination"
            " says", value=_FILE, spelled=("--tarPath",)),
    _kaniko("target", SAME, "stage to build; default: the last", value="STAGE", means="--target"),
    _kaniko("use-new-run", NOTE, "what a step changed is always known exactly", fine=(ANYTHING,)),
    _kaniko("verbosity", DIFFERS, "warn and below: nothing but warnings and what failed; debug and trace: what the"
            " program does; default: info", value="LEVEL", spelled=("-v",), choices=LEVELS, usual="info"),
)  # fmt: skip
"""All of them, by name."""


def declare(parser: Parser) -> None:
    """Declare all of them. As with kaniko, the last of two values of an option counts."""
    for flag in TABLE:
        spellings = (*(one for one in flag.spelled if not one.startswith("--")), flag.option(),
                     *(one for one in flag.spelled if one.startswith("--")))  # fmt: skip
        dest = flag.name.replace("-", "_")
        text = _help(flag)
        if flag.decision in (NOTE, REFUSED):
            parser.add_argument(*spellings, action=Foreign, const=flag, metavar=flag.value or "BOOL", dest="notes",
                                default=[], help=text)  # fmt: skip
        elif flag.many:
            parser.add_argument(*spellings, action="append", metavar=flag.value, dest=dest, default=[], help=text)
        elif flag.value:
            parser.add_argument(*spellings, action=_Last, metavar=flag.value, dest=dest, default=flag.usual,
                                choices=flag.choices or None, help=text)  # fmt: skip
        else:
            parser.add_argument(*spellings, action=_Switch, metavar="BOOL", dest=dest,
                                default=flag.usual == "true", help=text)  # fmt: skip
        if not flag.value:
            parser.bare |= dict.fromkeys(spellings, "true")


def _help(flag: ForeignFlag) -> str:
    text = flag.text.replace("%", "%%")
    if flag.decision == REFUSED:
        return f"refused: {text}"
    return f"no effect: {text}" if flag.decision == NOTE else text


class _Last(argparse.Action):
    """An option with a value, of which the last counts."""

    def __call__(self, _parser: Any, namespace: Any, values: Any, _option: str | None = None) -> None:
        setattr(namespace, self.dest, values)


class _Switch(argparse.Action):
    """An option that is on or off, with a value behind `=` or without one."""

    def __call__(self, _parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
        value = numbers.boolean(values)
        if value is None:
            raise UsageError(f"{option}={values} is neither true nor false", hint=f"write {option}, or {option}=false")
        setattr(namespace, self.dest, value)
