"""Values of `--mount` and `--tmpfs` of `pybuild run`, spelled as docker spells them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from buildah_py.errors import UsageError
from buildah_py.image import numbers

if TYPE_CHECKING:
    from buildah_py.sandbox import Operation

_KEYS: Final = {
    "src": "source", "source": "source", "dst": "target", "target": "target", "destination": "target",
    "ro": "readonly", "readonly": "readonly", "type": "type",
    "tmpfs-size": "size", "tmpfs-mode": "mode", "bind-propagation": "propagation",
}  # fmt: skip
_OF: Final = {"bind": {"source", "readonly", "propagation"}, "tmpfs": {"size", "mode"}}
_FORM: Final = "write it as type=bind,src=DIR,dst=TARGET[,ro] or type=tmpfs,dst=TARGET[,tmpfs-size=SIZE]"
_PRIVATE: Final = ("", "private", "rprivate")
_SO_ANYWAY: Final = ("rw", "nosuid", "nodev", "exec", "suid", "dev")


def mount(text: str) -> Operation:
    """Read a value of --mount. Raises UsageError."""
    from buildah_py.cli.container import size, volume
    from buildah_py.sandbox import BindMount, TmpfsMount

    option = f"--mount {text}"
    given: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        name = _KEYS.get(key.strip())
        if name is None:
            raise UsageError(f"{option}: `{key}` is not known", hint=_FORM)
        given[name] = value if equals else "true"
    kind = given.pop("type", "volume")
    if kind == "volume":
        raise UsageError(
            f"{option}: pybuild keeps no volumes", hint=f"a directory of this machine does the same; {_FORM}"
        )
    if kind not in _OF:
        raise UsageError(f"{option}: there are no mounts of the type {kind}", hint=_FORM)
    target = given.pop("target", "")
    if not target.startswith("/"):
        raise UsageError(f"{option}: dst has to be an absolute path", hint=_FORM)
    if other := sorted(set(given) - _OF[kind]):
        raise UsageError(f"{option}: {other[0]} is not for mounts of the type {kind}", hint=_FORM)
    if kind == "tmpfs":
        return TmpfsMount(target, size(given.get("size", "0"), option), _mode(given.get("mode", "1777"), option))
    if given.get("propagation", "") not in _PRIVATE:
        raise UsageError(f"{option}: mounts do not propagate between containers and this machine")
    if not given.get("source"):
        raise UsageError(f"{option}: src is missing", hint=_FORM)
    readonly = numbers.boolean(given.get("readonly", "false").lower())
    if readonly is None:
        raise UsageError(f"{option}: readonly is true or false")
    source, _, _ = volume(f"{given['source']}:{target}")
    return BindMount(source, target, readonly, recursive=True)


def tmpfs(text: str) -> Operation:
    """Read a value of --tmpfs: `TARGET[:OPTIONS]`. Raises UsageError."""
    from buildah_py.cli.container import size
    from buildah_py.sandbox import TmpfsMount

    option = f"--tmpfs {text}"
    target, _, options = text.partition(":")
    if not target.startswith("/"):
        raise UsageError(f"{option}: write it as TARGET[:size=64m,mode=1777], TARGET an absolute path")
    found, noexec = {"size": "0", "mode": "1777"}, True
    for part in filter(None, options.split(",")):
        name, _, value = part.partition("=")
        if name in found:
            found[name] = value
        elif name == "noexec" or name in _SO_ANYWAY:
            noexec = noexec and name != "exec"
        else:
            raise UsageError(f"{option}: `{part}` is not known", hint="known are size=, mode=, rw, exec, noexec")
    return TmpfsMount(target, size(found["size"], option), _mode(found["mode"], option), noexec)


def _mode(text: str, option: str) -> int:
    if not text or not set(text) <= set("01234567") or int(text, 8) > 0o7777:
        raise UsageError(f"{option}: the mode {text} is not an octal number")
    return int(text, 8)
