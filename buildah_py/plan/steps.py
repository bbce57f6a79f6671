"""Steps: the changes of a file system that a build consists of, as plain data.

`canonical()` of a step holds all that can change its result and nothing else; it becomes part of the step's key and is
kept with the result. The inputs that a step runs on and reads from are not in the step but in its node.
"""

from __future__ import annotations

from buildah_py.frozen import dataclass

Canonical = dict[str, object]

OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class BaseStep:
    """The file system of an image; of none at all for scratch. `name` and `image`, its id, are for people."""

    name: str
    diff_ids: tuple[str, ...]
    image: str = ""

    def canonical(self) -> Canonical:
        """Return the layers; the name decides nothing."""
        return {"op": "base", "diff_ids": list(self.diff_ids)}


@dataclass(frozen=True, slots=True)
class InlineFile:
    """A file whose content stands in the build file."""

    name: str
    content: bytes
    mode: int = 0o644

    def canonical(self) -> Canonical:
        """Name, mode and content."""
        return {"name": self.name, "mode": self.mode, "content": self.content.decode("utf-8", "surrogateescape")}


@dataclass(frozen=True, slots=True)
class MountStep:
    """A mount of a RUN. `input` is the place among the node's inputs of the tree that a bind or cache mount shows."""

    type: str
    target: str
    source: str = ""
    input: int | None = None
    readonly: bool = False
    id: str = ""
    sharing: str = ""
    size: int | None = None
    mode: int | None = None
    uid: int = 0
    gid: int = 0
    required: bool = False
    env: str = ""

    def canonical(self) -> Canonical:
        """Describe what the command can see of the mount; never what a cache holds or a secret says.

        The content of a cache is told by its id with the steps before: see `RunStep.reads_state`.
        """
        seen: Canonical = {"type": self.type, "target": self.target}
        if self.type in ("bind", "cache"):
            seen["readonly"] = self.readonly
            if self.input is not None:
                seen["input"] = self.input
        if self.type == "cache":
            seen |= {"id": self.id, "source": self.source, "uid": self.uid, "gid": self.gid, "mode": self.mode}
        if self.type == "tmpfs" and self.size is not None:
            seen["size"] = self.size
        if self.type in ("secret", "ssh"):
            seen |= {"id": self.id, "required": self.required, "uid": self.uid, "gid": self.gid, "mode": self.mode}
        if self.env:
            seen["env"] = self.env
        return seen


@dataclass(frozen=True, slots=True)
class RunStep:
    """A command in a container.

    `proxies` are variables that the command sees and the key does not; `arguments` names those of `env` that come from
    ARG; `files` are scripts of the build file, mounted
    below /dev/pipes while the command runs; `container` is what the command line says of it, as far as that can change
    a result.
    """

    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    cwd: str
    user: str
    network: str
    security: str
    platform: str
    hostname: str = "pybuild"
    mounts: tuple[MountStep, ...] = ()
    files: tuple[InlineFile, ...] = ()
    proxies: tuple[tuple[str, str], ...] = ()
    container: tuple[tuple[str, object], ...] = ()
    arguments: tuple[str, ...] = ()

    @property
    def reads_state(self) -> bool:
        """Whether it sees what lasts beside file systems, which others may write to: caches, volumes, devices."""
        lasting = any(names for kind, names in self.container if kind in ("volumes", "devices"))
        return lasting or any(mount.type == "cache" for mount in self.mounts)

    def canonical(self) -> Canonical:
        """Return the process as it will be started. Of the network only whether there is one."""
        seen: Canonical = {"container": dict(self.container)} if self.container else {}
        return seen | {
            "op": "run",
            "args": list(self.args),
            "env": dict(self.env),
            "cwd": self.cwd,
            "user": self.user,
            "network": "none" if self.network == "none" else "any",
            "security": self.security,
            "platform": self.platform,
            "hostname": self.hostname,
            "mounts": [mount.canonical() for mount in self.mounts],
            "files": [file.canonical() for file in self.files],
        }


@dataclass(frozen=True, slots=True)
class CaptureStep:
    """A command of which only the output counts: its result is a layer with nothing but the file `OUTPUT`."""

    run: RunStep

    def canonical(self) -> Canonical:
        """Return the process as it will be started."""
        return self.run.canonical() | {"op": "capture"}


@dataclass(frozen=True, slots=True)
class CopyStep:
    """COPY, or ADD with `add`: files of the context or of another tree into this file system.

    `destination` is absolute and keeps its trailing slash. The tree that `sources` are taken from is the node's only
    input, or the build context where it has none.
    """

    sources: tuple[str, ...]
    destination: str
    files: tuple[InlineFile, ...] = ()
    chown: str = ""
    chmod: str = ""
    exclude: tuple[str, ...] = ()
    parents: bool = False
    link: bool = False
    add: bool = False
    unpack: bool | None = None
    checksum: str = ""
    keep_git_dir: bool = False

    def canonical(self) -> Canonical:
        """How the selected content is placed. Which content was selected is an input's digest, not these patterns."""
        return {
            "op": "add" if self.add else "copy",
            "destination": self.destination,
            "chown": self.chown,
            "chmod": self.chmod,
            "parents": self.parents,
            "link": self.link,
            "unpack": self.unpack,
            "files": [file.canonical() for file in self.files],
        }


@dataclass(frozen=True, slots=True)
class WorkdirStep:
    """WORKDIR's directory, made where it does not exist, owned by `user`."""

    path: str
    user: str

    def canonical(self) -> Canonical:
        """Path and owner."""
        return {"op": "workdir", "path": self.path, "user": self.user}


Step = BaseStep | RunStep | CaptureStep | CopyStep | WorkdirStep
