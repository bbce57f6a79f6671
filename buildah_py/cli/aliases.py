"""Command lines of docker, buildx and buildah, said as pybuild says them, so that it can be called by their names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from buildah_py.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

WORDS: Final[dict[str, tuple[str, ...]]] = {
    "b": ("build",), "bud": ("build",), "build-using-dockerfile": ("build",), "unmount": ("umount",),
}  # fmt: skip
GROUPS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "image": {
        "build": ("build",), "ls": ("images",), "list": ("images",), "rm": ("rmi",), "remove": ("rmi",),
        "inspect": ("inspect", "--type=image"), "history": ("history",), "prune": ("prune", "--images"),
        "push": ("push",), "pull": ("pull",), "tag": ("tag",), "save": ("save",), "load": ("load",),
        "import": ("import",),
    },
    "builder": {"build": ("build",), "prune": ("prune", "--cache")},
    "container": {
        "run": ("run",), "ls": ("ps",), "list": ("ps",), "ps": ("ps",), "logs": ("logs",), "exec": ("exec",),
        "top": ("top",), "stop": ("stop",), "kill": ("kill",), "wait": ("wait",), "rm": ("rm",), "remove": ("rm",),
        "inspect": ("inspect", "--type=container"), "port": ("port",), "prune": ("prune", "--containers"),
    },
    "system": {"df": ("du",), "prune": ("prune",), "info": ("info",)},
}  # fmt: skip
_OF_CONTAINERS: Final = (
    "starts a container once, and changes nothing of it",
    (
        "there are `pybuild run`, ps, port, logs, exec, top, stop, kill, wait and rm; docker or podman does the rest:"
        " `pybuild push IMAGE docker-daemon:NAME` gives them an image"
    ),
)
_OF_FILES: Final = ("makes images of build files", "write it into a build file: `pybuild build`")
_OF_MACHINES: Final = ("builds images, and nothing else", "docker or podman does that")
FOREIGN: Final[dict[str, tuple[str, str]]] = {
    "compose": ("runs no services", "`pybuild bake` builds those of a Compose file"),
    "imagetools": ("has `buildx imagetools` for that", "`pybuild buildx imagetools create` and `inspect`"),
    "search": ("does not search registries", "`skopeo list-tags docker://NAME` lists an image's tags"),
    "scout": ("does not look for vulnerabilities", "have a scanner read what `pybuild save` writes"),
    "unshare": ("enters a user namespace by itself", "run the command as it is"),
    "commit": _OF_FILES,
    "from": _OF_FILES,
    "add": _OF_FILES,
    "copy": _OF_FILES,
    **dict.fromkeys(
        ("attach", "containers", "create", "pause", "rename", "restart", "start", "stats", "unpause", "update",
         "container"), _OF_CONTAINERS),
    **dict.fromkeys(
        ("events", "init", "machine", "network", "node", "plugin", "pod", "secret", "service", "stack", "swarm",
         "trust", "volume"), _OF_MACHINES),
}  # fmt: skip
GLOBAL: Final = {
    "--config": "DOCKER_CONFIG",
    "--registries-conf": "CONTAINERS_REGISTRIES_CONF",
    "--host": "DOCKER_HOST",
    "-H": "DOCKER_HOST",
    "--storage-driver": "the state directory is pybuild's own",
    "--storage-opt": "the state directory is pybuild's own",
    "--log-level": "`--debug` shows what the program does",
    "--context": "there is no daemon to choose",
    "--root": "",
    "--runroot": "",
}
"""Options before the command: the variable that says the same, or why they have no effect; "" where refused."""


def translate(arguments: list[str], commands: Iterable[str], warn: Callable[[str], object]) -> list[str]:
    """Return the command line in pybuild's words; as it is where it begins with a command, an option or a context.

    Raises UsageError for a command of others that is not one here, and for a word that is none at all.
    """
    rest = _without_global(arguments, warn)
    first, second = [*rest[:2], "", ""][:2]
    known = tuple(commands)
    if first == "buildx":
        from buildah_py.cli import buildx_table

        return buildx_table.translate(rest[1:], warn)
    if first in known or not first or first.startswith("-"):
        return rest
    group = GROUPS.get(first, {})
    if second in group:
        return [*group[second], *rest[2:]]
    if os.path.exists(first) or not first.replace("-", "").replace("_", "").isalnum():
        return rest  # a context, or the name of one
    if first in WORDS:
        return [*WORDS[first], *rest[1:]]
    for words in (f"{first} {second}", first):
        if words in FOREIGN:
            why, instead = FOREIGN[words]
            raise UsageError(f"`{words}` is not supported: pybuild {why}", hint=instead)
    from buildah_py.suggest import did_you_mean

    if group:
        hint = did_you_mean(second, group) or f"there are {', '.join(group)}"
        raise UsageError(f"there is no command {first} {second}".rstrip(), hint=hint)
    hint = did_you_mean(first, (*known, *WORDS, *GROUPS, *FOREIGN)) or "`pybuild help` lists the commands"
    raise UsageError(f"{first} is neither a command nor a directory here", hint=hint)


def _without_global(arguments: list[str], warn: Callable[[str], object]) -> list[str]:
    """Do what options before the command ask for, and take them away."""
    rest = list(arguments)
    while rest and rest[0].partition("=")[0] in GLOBAL:
        name, equals, value = rest.pop(0).partition("=")
        if not equals:
            if not rest:
                raise UsageError(f"{name} has no value")
            value = rest.pop(0)
        meaning = GLOBAL[name]
        if not meaning:
            raise UsageError(f"{name}: the state directory is named by the environment", hint=f"PYBUILD_ROOT={value}")
        if meaning.isupper():
            os.environ[meaning] = value
        else:
            warn(f"{name} has no effect: {meaning}")
    return rest
