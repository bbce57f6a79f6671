"""The files that credentials stand in (config.json of docker, containers-auth.json(5))."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from buildah_py.errors import UsageError
from buildah_py.image.canonical import loads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def read(path: str) -> dict[str, Any]:
    """Read a file; {} where there is none. Raises UsageError for what is not a JSON object."""
    try:
        with open(path, "rb") as file:
            text = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except PermissionError:
        raise UsageError(f"{path} may not be read", hint="it holds the credentials for registries") from None
    if not text.strip():
        return {}
    try:
        data = loads(text)
    except ValueError as error:
        where = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"line {getattr(error, 'lineno', 1)}"
        raise UsageError(f"{path} is not JSON: {where}") from None  # without the text, which may be a password
    if not isinstance(data, dict):
        raise UsageError(f"{path} is not a JSON object")
    return data


def table(data: Mapping[str, Any], key: str, path: str) -> dict[str, Any]:
    """Give the object `data[key]`, {} where there is none."""
    value = data.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UsageError(f"{path}: `{key}` is not an object")
    return value


def change(path: str, edit: Callable[[dict[str, Any]], None]) -> None:
    """Edit a file in place of which there is always a whole one, of mode 0600; others wait meanwhile.

    A symbolic link stays, the file that it leads to is changed.
    """
    import fcntl
    from tempfile import mkstemp

    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        data = read(path)
        edit(data)
        descriptor, temporary = mkstemp(prefix=".auth-", dir=folder)  # mode 0600
        try:
            with open(descriptor, "w") as file:
                json.dump(data, file, indent="\t")
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    finally:
        os.close(lock)
