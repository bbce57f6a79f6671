"""The configuration file: what a user or a machine wants of every build, unless the command line says otherwise."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.contexts.named import ContextOptions


class Setting(NamedTuple):
    """A default that can be configured. `variables` of the environment come before the file, `PYBUILD_NAME` first.

    `usual` is what holds where nothing is said. `choices` are all values, `kind` says what others have to look like.
    Values of `spelled` are those of other programs, and what they are here. `commands` are those of whose command line
    it is a default; without any, those look for it that need it.
    """

    name: str
    meaning: str
    usual: str
    variable: str = ""
    choices: tuple[str, ...] = ()
    kind: str = "text"
    spelled: tuple[tuple[str, str], ...] = ()
    commands: tuple[str, ...] = ()

    def variables(self) -> tuple[str, ...]:
        """Return the variables, the first that is set counts."""
        own = f"PYBUILD_{self.name.upper().replace('-', '_')}"
        return (own, self.variable) if self.variable else (own,)


class Effective(NamedTuple):
    """Value of a setting, and where it comes from: a variable, a file, or "" for what is usual."""

    value: str
    origin: str


_PLANNED: Final = ("build", "why")
SETTINGS: Final = (
    Setting("ca-bundle", "certificates that containers trust besides their own: a file, or host", ""),
    Setting("cache-from", "caches to look steps up in", "", kind="list", commands=_PLANNED),
    Setting("cache-to", "where a build's cache goes", "", kind="list", commands=("build",)),
    Setting("compression", "compression of layers that are written out", "gzip", commands=("build", "push"),
            choices=("gzip", "zstd", "uncompressed")),
    Setting("compression-level", "level of that compression", "", kind="number", commands=("build", "push")),
    Setting("context-modes", "modes of context files", "exact", choices=("exact", "git")),
    Setting("format", "media types of what is written out", "oci", "BUILDAH_FORMAT", choices=("oci", "docker"),
            commands=("build", "push")),
    Setting("isolation", "how steps are kept apart from the machine", "container", "BUILDAH_ISOLATION",
            choices=("container", "full", "nested", "in-place", "proot", "chroot"),
            spelled=(("oci", "container"), ("rootless", "container")),
            commands=("build", "why", "run", "shell")),
    Setting("jobs", "steps to execute at once", "", kind="number", commands=("build",)),
    Setting("max-used-space", "most that the store may take", "", kind="size"),
    Setting("memory", "limit of memory of each step", "", kind="size", commands=_PLANNED),
    Setting("min-free-space", "what has to stay free of the store's file system", "", kind="size"),
    Setting("network", "network of RUN steps", "default", choices=("default", "none", "host"), commands=_PLANNED),
    Setting("observe", "steps of which is noted what they read", "auto", choices=("auto", "on", "off"),
            commands=("build", "why", "advice")),
    Setting("platform", "platform of images", "", "DOCKER_DEFAULT_PLATFORM", kind="platform",
            commands=("build", "why", "check", "pull")),
    Setting("progress", "how a build is shown", "auto", "BUILDKIT_PROGRESS",
            choices=("auto", "tty", "plain", "json", "rawjson", "quiet"), spelled=(("none", "quiet"),),
            commands=("build", "bake", "verify")),
    Setting("pull", "when registries are asked for base images", "missing",
            choices=("missing", "always", "newer", "never"), commands=_PLANNED),
    Setting("share", "places where steps are shared with builds elsewhere", "", kind="list", commands=_PLANNED),
)  # fmt: skip
KEYS: Final = tuple(setting.name for setting in SETTINGS)
"""All settings. They may be written with `_` as well."""
_OF_THE_MACHINE: Final = "/etc/pybuild/config.yaml"
_OWN_LOOK: Final = ("ca-bundle", "context-modes", "max-used-space", "min-free-space")


def named(name: str) -> Setting:
    """Return the setting of a name. Raises UsageError where there is none."""
    key = name.replace("_", "-")
    for setting in SETTINGS:
        if setting.name == key:
            return setting
    from buildah_py.suggest import did_you_mean

    raise UsageError(f"there is no setting {name}", hint=did_you_mean(key, KEYS) or f"there are {', '.join(KEYS)}")


def effective(setting: Setting, environ: Mapping[str, str], file: Mapping[str, str]) -> Effective:
    """Return the value that holds where the command line says nothing; `file` is what `read_config` gives.

    Raises UsageError for one that cannot be.
    """
    for variable in setting.variables():
        if value := environ.get(variable):
            return Effective(_checked(setting, value, variable), variable)
    if setting.name in file:
        return Effective(_checked(setting, file[setting.name], "the configuration"), config_path(environ) or "")
    return Effective(setting.usual, "")


def _checked(setting: Setting, value: str, origin: str) -> str:
    """Return a value in our spelling. Raises UsageError."""
    value = dict(setting.spelled).get(value, value)
    if (setting.choices and value not in setting.choices) or (setting.kind == "number" and not value.isdecimal()):
        hint = f"there are {', '.join(setting.choices)}" if setting.choices else "it is to be a number"
        where = origin if origin in setting.variables() else f"{origin}: {setting.name}"
        raise UsageError(f"{where} is {value}, which means nothing", hint=hint)
    if setting.kind == "size":
        from buildah_py.store.sizes import parse_size

        parse_size(value)
    elif setting.kind == "platform":
        from buildah_py.image import platform

        for one in [one for one in value.split(",") if one] or [value]:
            platform.parse(one)
    return value


def config_path(environ: Mapping[str, str]) -> str | None:
    """Return the file that counts, None where there is none: $PYBUILD_CONFIG, else this user's, else the machine's.

    Raises UsageError where $PYBUILD_CONFIG names a file that is not there.
    """
    given = environ.get("PYBUILD_CONFIG")
    if given is not None:
        if given and not os.path.isfile(given):
            raise UsageError(f"PYBUILD_CONFIG names {given}, which is not a file")
        return given or None
    for path in (user_path(environ), _OF_THE_MACHINE):
        if os.path.isfile(path):
            return path
    return None


def looked_at(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return all files that `config_path` may look at."""
    given = environ.get("PYBUILD_CONFIG")
    if given is None:
        return user_path(environ), _OF_THE_MACHINE
    return (given,) if given else ()


def user_path(environ: Mapping[str, str]) -> str:
    """Return where this user's file lies, or would."""
    home = environ.get("XDG_CONFIG_HOME", "")
    if not home.startswith("/"):
        home = os.path.join(environ.get("HOME", "/"), ".config")
    return os.path.join(home, "pybuild/config.yaml")


def read_config(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the settings by their names in KEYS; none where there is no file.

    Raises UsageError for what means nothing.
    """
    path = config_path(environ)
    return {} if path is None else _read(path)


def _read(path: str) -> dict[str, str]:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    return parse(text, path)


def parse(text: str, path: str) -> dict[str, str]:
    """Read the text of a file; lists are lines. Raises UsageError."""
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UsageError(f"{path} is not a mapping", hint="write lines such as `context-modes: git`")
    found = {}
    for name, setting in value.items():
        key = str(name).replace("_", "-")
        if key not in KEYS:
            from buildah_py.suggest import did_you_mean

            hint = did_you_mean(key, KEYS) or f"there are {', '.join(KEYS)}"
            raise UsageError(f"{path}: there is no setting {name}", hint=hint)
        values = setting if isinstance(setting, list) and named(key).kind == "list" else [setting]
        if any(isinstance(one, (dict, list)) or one is None for one in values):
            raise UsageError(f"{path}: {name} is to be one value")
        found[key] = "\n".join(map(str, values))
        if key not in _OWN_LOOK:
            _checked(named(key), found[key], path)
    return found


def configured(options: ContextOptions, environ: Mapping[str, str]) -> ContextOptions:
    """Give options of contexts, with the configuration file's where nothing was said. Raises UsageError."""
    if options.modes:
        return options
    from buildah_py.frozen import replace

    return replace(options, modes=effective(named("context-modes"), environ, read_config(environ)).value)
