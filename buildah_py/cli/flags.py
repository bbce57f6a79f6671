"""The flags of `docker buildx build` and of `buildah build`, and what becomes of each here.

One table: those that have nothing to do here it declares itself, with a note or a refusal, and docs/flags.md is made of
it. That of kaniko's flags, in executor_flags.py, is made of the same pieces.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py.errors import UsageError
from buildah_py.image import numbers

if TYPE_CHECKING:
    from buildah_py.cli.arguments import Parser

SAME: Final = "same"
DIFFERS: Final = "differs"
NOTE: Final = "note"
REFUSED: Final = "refused"
ANYTHING: Final = "*"


class ForeignFlag(NamedTuple):
    """A flag of another builder: what is done with it, and in `text` how it differs, the note, or why it is refused.

    `value` is a metavar where it takes one. Of a flag with a note or a refusal, `fine` lists the values that ask for
    what happens anyway; a `*` stands for all. `choices` are all values that mean anything to it. Of flags of kaniko
    alone: `spelled` are its other spellings, `many` says that it is given once for each value, `usual` is the value
    that holds without it, and `means` the option of `pybuild build` that takes its value as it is.
    """

    name: str
    docker: bool
    buildah: bool
    decision: str
    text: str = ""
    instead: str = ""
    value: str = ""
    fine: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    spelled: tuple[str, ...] = ()
    many: bool = False
    usual: str = ""
    means: str = ""

    def option(self) -> str:
        """Return it as it is typed."""
        return f"--{self.name}"


def _docker(name: str, decision: str, text: str = "", instead: str = "", **more: Any) -> ForeignFlag:
    return ForeignFlag(name, True, False, decision, text, instead, **more)


def _buildah(name: str, decision: str, text: str = "", instead: str = "", **more: Any) -> ForeignFlag:
    return ForeignFlag(name, False, True, decision, text, instead, **more)


def _both(name: str, decision: str, text: str = "", instead: str = "", **more: Any) -> ForeignFlag:
    return ForeignFlag(name, True, True, decision, text, instead, **more)


_NO_SBOM: Final = (
    "lists of packages are attestations, and pybuild makes them itself",
    "--sbom=true, and `pybuild sbom NAME`",
)
_SECRET: Final = ("cw", "decryption-key")
"""Flags whose values may hold what nobody else is to see."""
_PRIVATE: Final = ("", "private", "container")

TABLE: Final = (
    _both("add-host", SAME, "`host-gateway` is reached with --network=host alone, which is told"),
    _buildah("all-platforms", REFUSED, "which platforms an image is for is said, and not found out",
             "name them: --platform linux/amd64,linux/arm64", fine=("false",)),
    _docker("allow", SAME),
    _both("annotation", SAME),
    _buildah("arch", SAME, "part of --platform", value="ARCH"),
    _docker("attest", SAME, "type=provenance and type=sbom: see attestations.md", value="SPEC"),
    _buildah("authfile", SAME),
    _both("build-arg", SAME),
    _buildah("build-arg-file", SAME, "lines `NAME=VALUE`; --build-arg comes before them", value="FILE"),
    _both("build-context", SAME),
    _docker("builder", NOTE, "there is one builder, and it is this process", value="NAME", fine=("", "default")),
    _both("cache-from", DIFFERS, "pybuild's own caches; a bare NAME is `type=registry,ref=NAME`"),
    _both("cache-to", DIFFERS, "pybuild's own caches; a bare NAME is `type=registry,ref=NAME`"),
    _buildah("cache-ttl", SAME),
    _docker("call", DIFFERS, "build, check (lint), outline, targets"),
    _buildah("cap-add", SAME),
    _buildah("cap-drop", SAME),
    _buildah("cert-dir", SAME),
    _both("cgroup-parent", SAME),
    _buildah("cgroupns", REFUSED, "each container has a cgroup namespace of its own", "leave it out", value="HOW",
             fine=_PRIVATE),
    _docker("check", SAME),
    _buildah("compat-volumes", REFUSED, "what RUN does below a VOLUME is kept", "put the VOLUME behind the RUN, or"
             " remove in a RUN what is not to stay", fine=("false",)),
    _buildah("compress", NOTE, "layers are compressed as their output says: compression=…", fine=(ANYTHING,)),
    _buildah("compression-format", SAME, "the same as compression= of all outputs", value="FORMAT"),
    _buildah("compression-level", SAME, "the same as compression-level= of all outputs", value="LEVEL"),
    _buildah("cpp-flag", REFUSED, "build files go through no preprocessor",
             "run `cpp -E` yourself, and hand its result over: `pybuild -f - .`", value="FLAG"),
    _buildah("cpu-period", SAME, "with --cpu-quota: what --cpus says in one number", value="MICROSECONDS"),
    _buildah("cpu-quota", SAME, "with --cpu-period (100000): what --cpus says in one number", value="MICROSECONDS"),
    _buildah("cpu-shares", SAME),
    _buildah("cpuset-cpus", SAME),
    _buildah("cpuset-mems", REFUSED, "memory is not tied to nodes", "run pybuild itself below `numactl --membind`",
             value="NODES", fine=("",)),
    _buildah("created-annotation", NOTE, "the time stands in the image's config alone;"
             " --annotation org.opencontainers.image.created=TIME writes it down", fine=(ANYTHING,)),
    _buildah("creds", DIFFERS, "NAME:PASSWORD; a password is not asked for, `pybuild login` does that"),
    _buildah("cw", REFUSED, "images for confidential workloads are not made", "buildah makes them", value="OPTIONS"),
    _docker("debug", SAME),
    _buildah("decryption-key", REFUSED, "encrypted images are not read",
             "decrypt it first: `skopeo copy --decryption-key …`", value="KEY"),
    _buildah("device", SAME),
    _buildah("disable-compression", NOTE, "layers are compressed as their output says: compression=uncompressed",
             fine=("true",)),
    _buildah("disable-content-trust", NOTE, "there is no such trust to be disabled", fine=(ANYTHING,)),
    _buildah("dns", DIFFERS, "addresses; `none` is refused"),
    _buildah("dns-option", SAME),
    _buildah("dns-search", SAME),
    _buildah("env", SAME),
    _both("file", DIFFERS, "one; buildah joins several. A name that ends with .in is read as it is"),
    _buildah("force-compression", SAME, "the same as force-compression= of all outputs"),
    _buildah("force-rm", NOTE, "nothing of a container is kept", fine=(ANYTHING,)),
    _buildah("format", SAME, "oci or docker: media types of what is written out (oci-mediatypes=)", value="FORMAT"),
    _buildah("from", REFUSED, "base images stand in the build file",
             "--build-context NAME=docker-image://OTHER puts another one in the place of NAME", value="IMAGE"),
    _buildah("group-add", REFUSED, "RUN steps have the groups that the image's /etc/group gives their user",
             "add the user to the group in a RUN", value="GROUP"),
    _buildah("help", SAME),
    _buildah("hooks-dir", NOTE, "hooks are for runtimes, and none is used", value="DIR", fine=("",)),
    _buildah("http-proxy", DIFFERS, "off without it, as with docker; on: the proxies of this environment hold for RUN"),
    _buildah("identity-label", DIFFERS, "off without it; the label is pybuild's"),
    _buildah("ignorefile", SAME),
    _both("iidfile", SAME),
    _buildah("iidfile-raw", SAME, "the id without `sha256:`", value="FILE"),
    _buildah("inherit-annotations", NOTE, "what is written out has the annotations of --annotation alone",
             fine=(ANYTHING,)),
    _buildah("inherit-labels", REFUSED, "labels of the base image stay",
             "--unsetlabel KEY leaves one out", fine=("true",)),
    _buildah("ipc", REFUSED, "each container has an IPC namespace of its own", "leave it out", value="HOW",
             fine=_PRIVATE),
    _buildah("isolation", DIFFERS, "container (oci and rootless mean it), full, nested, in-place, proot or chroot"),
    _buildah("jobs", SAME),
    _both("label", SAME),
    _buildah("layer-label", REFUSED, "layers have no labels of their own", "--label is for the image",
             value="K=V"),
    _buildah("layers", NOTE, "each step is a layer, and is cached; --squash makes one layer, --no-cache executes all",
             fine=("true",)),
    _docker("load", DIFFERS, "where no engine runs, a warning says that the image is in pybuild's own store alone"),
    _buildah("logfile", REFUSED, "what a build shows goes to the standard error",
             "add --progress=plain and 2>FILE", value="FILE"),
    _buildah("logsplit", REFUSED, "each step's output is kept in a file of its own in the state directory",
             "leave it out", fine=("false",)),
    _buildah("manifest", REFUSED, "a build for several platforms makes an index under its own name, by itself",
             "leave it out; `pybuild manifest add NAME IMAGE` adds to one that is there", value="NAME"),
    _buildah("memory", SAME),
    _buildah("memory-swap", SAME),
    _both("metadata-file", SAME),
    _buildah("mount", REFUSED, "mounts stand in the build file: RUN --mount=…",
             "--volume DIR:TARGET[:ro] shows a directory to all steps", value="SPEC"),
    _both("network", SAME, "default, none, host; bridge, private, pasta and slirp4netns mean the default"),
    _both("no-cache", SAME),
    _docker("no-cache-filter", SAME),
    _buildah("no-hostname", NOTE, "RUN sees pybuild's /etc/hostname; the image's own stays as it is", fine=("false",)),
    _buildah("no-hosts", NOTE, "RUN sees pybuild's /etc/hosts; the image's own stays as it is", fine=("false",)),
    _buildah("omit-history", SAME),
    _buildah("os", SAME, "part of --platform", value="OS"),
    _buildah("os-feature", REFUSED, "a config gets no features of a system", "the base image's are kept",
             value="FEATURE", fine=("",)),
    _buildah("os-version", REFUSED, "a config gets no version of a system", "the base image's is kept",
             value="VERSION", fine=("",)),
    _both("output", DIFFERS, "buildx's types and attributes, some more and less: see outputs.md"),
    _buildah("pid", REFUSED, "each container has a PID namespace of its own", "leave it out", value="HOW",
             fine=_PRIVATE),
    _both("platform", SAME, "one or several; `local` is this machine's: see platforms.md"),
    _docker("policy", REFUSED, "policies in Rego are not evaluated", "--source-policy-file takes BuildKit's JSON",
            value="SPEC"),
    _docker("progress", DIFFERS, "auto, tty, plain, rawjson, quiet (none); json is pybuild's own form"),
    _docker("provenance", DIFFERS, "off without it, also where the image is pushed: see attestations.md"),
    _both("pull", SAME),
    _docker("push", SAME),
    _both("quiet", SAME),
    _docker("resource", SAME, "memory, memory-swap, cpu-shares, cpu-period, cpu-quota, cpuset-cpus: the options"
            " of those names", value="NAME=VALUE"),
    _buildah("retry", NOTE, "pybuild tries again by itself what is worth it", value="TIMES", fine=(ANYTHING,)),
    _buildah("retry-delay", NOTE, "pybuild waits as long as servers ask for", value="DURATION", fine=(ANYTHING,)),
    _buildah("rewrite-timestamp", SAME),
    _buildah("rm", NOTE, "nothing of a container is kept", fine=(ANYTHING,)),
    _buildah("runtime", NOTE, "pybuild makes containers itself", value="PATH", fine=("",)),
    _buildah("runtime-flag", NOTE, "pybuild makes containers itself", value="FLAG", fine=("",)),
    _buildah("save-stages", NOTE, "the cache keeps the layers of all stages; --target with -t gives one a name",
             fine=("false",)),
    _both("sbom", DIFFERS, "docker's; pybuild lists packages itself, and runs no scanner's image: see attestations.md"),
    *(
        _buildah(f"sbom-{name}", REFUSED, *_NO_SBOM, value="VALUE")
        for name in ("image-output", "image-purl-output", "merge-strategy", "output", "purl-output",
                     "scanner-command", "scanner-image")
    ),
    _both("secret", SAME),
    _buildah("security-opt", DIFFERS, "seccomp, no-new-privileges; label=disable and apparmor=unconfined are so"),
    _both("shm-size", SAME),
    _buildah("sign-by", REFUSED, "images are not signed with GPG", "--sign KEY, with a key as cosign has them",
             value="KEY"),
    _buildah("skip-unused-stages", NOTE, "stages that the target does not need are never built", fine=("true",)),
    _buildah("source-date-epoch", SAME, "`context` is the context's time"),
    _buildah("source-policy-file", SAME, "BuildKit's form, which EXPERIMENTAL_BUILDKIT_SOURCE_POLICY names as well",
             value="FILE"),
    _buildah("squash", DIFFERS, "docker's meaning: the base image's layers stay; --squash-all is buildah's"),
    _both("ssh", SAME),
    _buildah("stage-labels", NOTE, "stages that are not the target become no images that could have labels",
             fine=("false",)),
    _buildah("stdin", NOTE, "steps read nothing: what they did could not be cached", fine=("false",)),
    _both("tag", DIFFERS, "names; of buildah's transports none: -o writes archives and layouts"),
    _both("target", SAME),
    _buildah("timestamp", SAME),
    _buildah("tls-verify", SAME),
    _both("ulimit", SAME),
    _buildah("unsetannotation", NOTE, "annotations of the base image are not taken over", value="KEY",
             fine=(ANYTHING,)),
    _buildah("unsetenv", SAME),
    _buildah("unsetlabel", SAME),
    _buildah("userns", DIFFERS, "host, auto, private; no path of a namespace"),
    _buildah("userns-gid-map", SAME),
    _buildah("userns-gid-map-group", SAME),
    _buildah("userns-uid-map", SAME),
    _buildah("userns-uid-map-user", SAME),
    _buildah("uts", REFUSED, "each container has a host name of its own", "--hostname sets it", value="HOW",
             fine=_PRIVATE),
    _buildah("variant", SAME, "part of --platform", value="VARIANT"),
    _buildah("volume", DIFFERS, "ro, rw, z and Z; neither O, U nor propagation"),
)  # fmt: skip
"""All of them, by name."""


def declare(parser: Parser) -> None:
    """Declare those that `pybuild build` does not know by itself: what means an option of ours, notes, refusals."""
    from buildah_py.cli.spellings import declare as declare_spellings

    declare_spellings(parser)
    group = parser.add_argument_group(
        "of docker and buildah", "accepted with a note, or refused: see `pybuild help flags`"
    )
    for flag in TABLE:
        if flag.decision not in (NOTE, REFUSED) or parser.knows(flag.option()):
            continue
        group.add_argument(
            flag.option(), action=Foreign, const=flag, metavar=flag.value or "BOOL", dest="notes", default=[],
            help=argparse.SUPPRESS,
        )  # fmt: skip
        if not flag.value:
            parser.bare[flag.option()] = "true"


class Foreign(argparse.Action):
    """A flag with a note, which is put down, or one that is refused."""

    def __call__(self, _parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Put the note down, or raise UsageError."""
        flag: ForeignFlag = self.const
        namespace.foreign = {**getattr(namespace, "foreign", {}), flag.name: values}
        plain = _plain(values)
        if not flag.value and plain not in ("true", "false"):
            raise UsageError(f"{option_string}={values} is neither true nor false")
        if flag.choices and values not in flag.choices:
            from buildah_py.suggest import did_you_mean

            hint = did_you_mean(values, flag.choices) or f"there are {', '.join(flag.choices)}"
            raise UsageError(f"{option_string}: there is no {values}", hint=hint)
        if ANYTHING in flag.fine or plain in flag.fine:
            return
        said = (flag.value and flag.name not in _SECRET) or plain == "false"
        shown = f"{option_string}={values}" if said else option_string
        if flag.decision == REFUSED:
            raise UsageError(f"{shown}: {flag.text}", hint=flag.instead)
        namespace.notes = [*namespace.notes, f"{shown} has no effect: {flag.text}"]


def _plain(value: str) -> str:
    """Give one spelling to what is true or false."""
    known = numbers.boolean(value.lower())
    return value if known is None else str(known).lower()
