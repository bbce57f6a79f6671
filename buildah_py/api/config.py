"""The configuration file: what a user or a machine wants of every build, unless the command line says otherwise."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from buildah_py.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.contexts.named import ContextOptions

KEYS: Final = ("ca-bundle", "context-modes", "max-used-space", "min-free-space")
"""All settings. They may be written with `_` as well."""


def config_path(environ: Mapping[str, str]) -> str | None:
    """Return the file that counts, None where there is none: $PYBUILD_CONFIG, else this user's, else the machine's.

    Raises UsageError where $PYBUILD_CONFIG names a file that is not there.
    """
    given = environ.get("PYBUILD_CONFIG")
    if given is not None:
        if given and not os.path.isfile(given):
            raise UsageError(f"PYBUILD_CONFIG names {given}, which is not a file")
        return given or None
    home = environ.get("XDG_CONFIG_HOME", "")
    if not home.startswith("/"):
        home = os.path.join(environ.get("HOME", "/"), ".config")
    for path in (os.path.join(home, "pybuild/config.yaml"), "/etc/pybuild/config.yaml"):
        if os.path.isfile(path):
            return path
    return None


def read_config(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the settings by their names in KEYS; none where there is no file.

    Raises UsageError for what means nothing.
    """
    path = config_path(environ)
    return {} if path is None else _read(path)


def _read(path: str) -> dict[str, str]:
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            value = yaml.safe_load(file)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UsageError(f"{path} is not a mapping", hint="write lines such as `context-modes: git`")
    found = {}
    for name, setting in value.items():
        key = str(name).replace("_", "-")
        if key not in KEYS:
            raise UsageError(f"{path}: there is no setting {name}", hint=f"there are {', '.join(KEYS)}")
        if isinstance(setting, (dict, list)) or setting is None:
            raise UsageError(f"{path}: {name} is to be one value")
        found[key] = str(setting)
    return found


def configured(options: ContextOptions, environ: Mapping[str, str]) -> ContextOptions:
    """Give options of contexts, with the configuration file's where nothing was said. Raises UsageError."""
    if options.modes:
        return options
    from buildah_py.contexts.named import MODES
    from buildah_py.frozen import replace

    modes = read_config(environ).get("context-modes", "exact")
    if modes not in MODES:
        raise UsageError(f"context-modes is {modes} in the configuration", hint=f"there are {' and '.join(MODES)}")
    return replace(options, modes=modes)
