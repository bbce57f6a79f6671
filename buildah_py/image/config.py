"""The image config: what a container of the image runs, its layers' diff_ids, its history (image-spec config.md).

An `ImageConfig` is a view of the JSON it was read from, so that properties which pybuild does not know survive. It
never changes: each `with_…` returns another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from buildah_py.errors import ImageError
from buildah_py.image import canonical, descriptor, digest, timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from buildah_py.image.platform import Platform

# The order in which properties are written: image-spec's, then Docker's; unknown ones follow, sorted.
_TOP = (
    "created", "author", "architecture", "os", "os.version", "os.features", "variant", "config", "rootfs", "history",
)  # fmt: skip
_CONTAINER = (
    "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal", "ArgsEscaped",
    "Healthcheck", "OnBuild", "Shell",
)  # fmt: skip
_HEALTHCHECK = ("Test", "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries")
_HISTORY = ("created", "created_by", "author", "comment", "empty_layer")

_Json = dict[str, Any]

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH where an image sets none."""


class HealthcheckConfig(NamedTuple):
    """How to see whether a container works. `test` begins with NONE, CMD or CMD-SHELL; times in ns, 0 for inherited."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class History(NamedTuple):
    """How one layer (or, with `empty_layer`, none) came about. `created` is RFC 3339 or empty."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class ImageConfig:
    """An immutable image config. Two are equal when their bytes are."""

    __slots__ = ("_raw",)
    _raw: _Json

    def __init__(self, raw: _Json) -> None:
        self._raw = raw

    # Properties of the config

    @property
    def platform(self) -> Platform:
        """The platform as it is spelled in the config."""
        return descriptor.platform_from_dict(self._raw, "the image config")

    @property
    def created(self) -> str:
        """RFC 3339, `""` where it is missing."""
        return str(self._raw.get("created") or "")

    @property
    def author(self) -> str:
        """Who made the image (MAINTAINER)."""
        return str(self._raw.get("author") or "")

    @property
    def user(self) -> str:
        """`user[:group]`, names or numbers."""
        return str(self._container.get("User") or "")

    @property
    def working_dir(self) -> str:
        """The working directory, `""` for `/`."""
        return str(self._container.get("WorkingDir") or "")

    @property
    def env(self) -> tuple[str, ...]:
        """`KEY=value`, in the order in which the keys were first set."""
        return self._list("Env")

    @property
    def entrypoint(self) -> tuple[str, ...]:
        """The entry point's words; empty where there is none."""
        return self._list("Entrypoint")

    @property
    def cmd(self) -> tuple[str, ...]:
        """The command's words, or the arguments of the entry point; empty where there is none."""
        return self._list("Cmd")

    @property
    def shell(self) -> tuple[str, ...]:
        """The shell of shell forms; empty for the platform's own."""
        return self._list("Shell")

    @property
    def onbuild(self) -> tuple[str, ...]:
        """The instructions to run when the image is built upon."""
        return self._list("OnBuild")

    @property
    def exposed_ports(self) -> tuple[str, ...]:
        """`port/protocol`, sorted."""
        return tuple(sorted(self._container.get("ExposedPorts") or ()))

    @property
    def volumes(self) -> tuple[str, ...]:
        """The volumes' paths, sorted."""
        return tuple(sorted(self._container.get("Volumes") or ()))

    @property
    def labels(self) -> dict[str, str]:
        """The labels, sorted by key."""
        return dict(sorted((self._container.get("Labels") or {}).items()))

    @property
    def stop_signal(self) -> str:
        """The signal that asks a container to end, as it was written; `""` for the usual one."""
        return str(self._container.get("StopSignal") or "")

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The digests of the uncompressed layers, lowest first."""
        return tuple(self._raw["rootfs"]["diff_ids"])

    @property
    def history(self) -> tuple[History, ...]:
        """One entry for each layer, and those of instructions that made none."""
        return tuple(
            History(
                str(raw.get("created") or ""),
                str(raw.get("created_by") or ""),
                str(raw.get("author") or ""),
                str(raw.get("comment") or ""),
                bool(raw.get("empty_layer")),
            )
            for raw in self._raw.get("history") or ()
        )

    def environment(self) -> dict[str, str]:
        """Return the variables by name. An entry without `=` is passed over, of equal keys the last counts."""
        return {key: value for key, equals, value in (item.partition("=") for item in self.env) if equals}

    def to_dict(self) -> _Json:
        """Return the JSON that is written: properties in a fixed order, objects sorted, what is empty left out."""
        top = _arranged(self._raw, _TOP)
        if "history" in top:
            top["history"] = [_arranged(entry, _HISTORY) for entry in top["history"]]
        container = _arranged(self._container, _CONTAINER)
        for name in ("ExposedPorts", "Volumes", "Labels"):
            if name in container:
                container[name] = dict(sorted(container[name].items()))
        if "Healthcheck" in container:
            container["Healthcheck"] = _arranged(container["Healthcheck"], _HEALTHCHECK)
        # These have to be there, even empty.
        rootfs = {"type": "layers", "diff_ids": list(self.diff_ids)}
        rootfs |= {key: value for key, value in sorted(self._raw["rootfs"].items()) if key not in rootfs}
        required = {"architecture": "", "os": "", "config": container, "rootfs": rootfs}
        return _arranged({**required, **top, "config": container, "rootfs": rootfs}, _TOP, keep=frozenset(required))

    def to_bytes(self) -> bytes:
        """Return the bytes whose digest is the image's id: the same for equal configs.

        Raises ImageError for more than anybody would read again.
        """
        data = canonical.to_bytes(self.to_dict())
        if len(data) > canonical.MAX_BYTES:
            raise ImageError(
                f"the image's config is {len(data)} bytes long; more than {canonical.MAX_BYTES} are refused"
            )
        return data

    def digest(self) -> str:
        """Return the image's id."""
        return digest.sha256_of(self.to_bytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ImageConfig) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def __repr__(self) -> str:
        return f"ImageConfig({self.to_dict()!r})"

    # Others like it

    def with_created(self, created: str) -> ImageConfig:
        """Set the time, RFC 3339; `""` removes it."""
        return self._top("created", created)

    def with_author(self, author: str) -> ImageConfig:
        """Set the author."""
        return self._top("author", author)

    def with_user(self, user: str) -> ImageConfig:
        """Set the user; `""` removes it."""
        return self._with("User", user)

    def with_working_dir(self, path: str) -> ImageConfig:
        """Set the working directory, an absolute path."""
        return self._with("WorkingDir", path)

    def with_env(self, key: str, value: str) -> ImageConfig:
        """Set a variable: in its place where it is set already, else behind the others."""
        new = f"{key}={value}"
        items: list[str] = []
        done = False
        for item in self.env:
            if item.partition("=")[0] != key:
                items.append(item)
            elif not done:
                items.append(new)
                done = True
        return self._with("Env", items if done else [*items, new])

    def without_env(self, key: str) -> ImageConfig:
        """Remove a variable."""
        return self._with("Env", [item for item in self.env if item.partition("=")[0] != key])

    def with_environment(self, values: Mapping[str, str]) -> ImageConfig:
        """Set exactly these variables, as `with_env` would; entries of those that have their value already stay."""
        now = self.environment()
        rest = dict(values)
        items: list[str] = []
        for item in self.env:
            key, equals, _ = item.partition("=")
            if not equals or (key in values and values[key] == now[key]):
                items.append(item)
            elif key in rest:
                items.append(f"{key}={rest.pop(key)}")
        items += [f"{key}={value}" for key, value in rest.items() if key not in now]
        return self if items == list(self.env) else self._with("Env", items)

    def with_entrypoint(self, words: Iterable[str]) -> ImageConfig:
        """Set the entry point; no words remove it. An inherited command stays: `with_cmd(())` removes it."""
        return self._with("Entrypoint", list(words))

    def with_cmd(self, words: Iterable[str]) -> ImageConfig:
        """Set the command; no words remove it."""
        return self._with("Cmd", list(words))

    def with_shell(self, words: Iterable[str]) -> ImageConfig:
        """Set the shell of shell forms."""
        return self._with("Shell", list(words))

    def with_args_escaped(self, escaped: bool) -> ImageConfig:
        """Say whether the command is one escaped string (Windows)."""
        return self._with("ArgsEscaped", escaped)

    def with_onbuild(self, instruction: str) -> ImageConfig:
        """Add an instruction to run when the image is built upon."""
        return self._with("OnBuild", [*self.onbuild, instruction])

    def without_onbuild(self) -> ImageConfig:
        """Remove all of them: they have run."""
        return self._with("OnBuild", [])

    def with_exposed_ports(self, ports: Iterable[str]) -> ImageConfig:
        """Add ports, `80/tcp`."""
        return self._with(
            "ExposedPorts", {**(self._container.get("ExposedPorts") or {}), **{port: {} for port in ports}}
        )

    def with_volumes(self, paths: Iterable[str]) -> ImageConfig:
        """Add volumes."""
        return self._with("Volumes", {**(self._container.get("Volumes") or {}), **{path: {} for path in paths}})

    def with_labels(self, labels: Mapping[str, str]) -> ImageConfig:
        """Add labels, replacing those of the same keys."""
        return self._with("Labels", {**(self._container.get("Labels") or {}), **labels})

    def without_label(self, key: str) -> ImageConfig:
        """Remove a label."""
        return self._with("Labels", {name: value for name, value in self.labels.items() if name != key})

    def without_exposed_port(self, port: str) -> ImageConfig:
        """Remove a port, `80/tcp`."""
        return self._with("ExposedPorts", {name: {} for name in self.exposed_ports if name != port})

    def without_volume(self, path: str) -> ImageConfig:
        """Remove a volume."""
        return self._with("Volumes", {name: {} for name in self.volumes if name != path})

    def with_stop_signal(self, signal: str) -> ImageConfig:
        """Set the signal that ends a container, name or number."""
        return self._with("StopSignal", signal)

    def with_healthcheck(self, check: HealthcheckConfig | None) -> ImageConfig:
        """Set the health check; None removes it, `HealthcheckConfig(("NONE",))` switches off one that was inherited."""
        if check is None:
            return self._with("Healthcheck", {})
        values = (list(check.test), *check[1:])
        return self._with("Healthcheck", dict(zip(_HEALTHCHECK, values, strict=True)))

    def with_history(
        self, created_by: str, *, created: str = "", empty_layer: bool = True, comment: str = "", author: str = ""
    ) -> ImageConfig:
        """Add an entry to the history: that of an instruction which made no layer, unless `empty_layer` is false."""
        return self.with_entries([History(created, created_by, author, comment, empty_layer)])

    def with_entries(self, entries: Iterable[History]) -> ImageConfig:
        """Add entries to the history, and leave the layers alone."""
        return self._top("history", [*(self._raw.get("history") or ()), *(entry._asdict() for entry in entries)])

    def with_layer(
        self, diff_id: str, created_by: str, *, created: str = "", comment: str = "", author: str = ""
    ) -> ImageConfig:
        """Add a layer on top, with its entry in the history."""
        return self.with_diff_ids([*self.diff_ids, diff_id]).with_history(
            created_by, created=created, empty_layer=False, comment=comment, author=author
        )

    def with_diff_ids(self, diff_ids: Iterable[str]) -> ImageConfig:
        """Replace the layers and leave the history alone."""
        return self._top("rootfs", {**self._raw["rootfs"], "diff_ids": [digest.validate(one) for one in diff_ids]})

    def with_changed_history(self, change: Callable[[int, dict[str, Any]], dict[str, Any]]) -> ImageConfig:
        """Replace each entry, of which `change` is told its place from 0 and its JSON, by what that returns."""
        entries = self._raw.get("history") or ()
        return self._top("history", [change(place, dict(entry)) for place, entry in enumerate(entries)])

    def with_property(self, name: str, value: Any) -> ImageConfig:
        """Set a property that the specification does not know; None removes it."""
        raw = {key: one for key, one in self._raw.items() if key != name}
        return ImageConfig(raw if value is None else raw | {name: value})

    def without_history(self) -> ImageConfig:
        """Remove the whole history."""
        return self._top("history", None)

    def with_complete_history(self, created_by: str = "", *, created: str = "") -> ImageConfig:
        """Give each layer exactly one entry, which images made elsewhere sometimes lack.

        Missing entries are added at the end as `created_by`; entries too many, the oldest first, are marked as having
        made no layer.
        """
        entries = [dict(entry) for entry in self._raw.get("history") or ()]
        spare = sum(not entry.get("empty_layer") for entry in entries) - len(self.diff_ids)
        for entry in entries:
            if spare > 0 and not entry.get("empty_layer"):
                entry["empty_layer"] = True
                spare -= 1
        entries += ({"created": created, "created_by": created_by} for _ in range(-spare))
        return self._top("history", entries)

    def clamped(self, epoch: int) -> ImageConfig:
        """Move every later time back to `epoch` (nanoseconds since 1970), for a reproducible image."""
        limit = timestamp.to_text(epoch)

        def earlier(raw: _Json) -> _Json:
            created = raw.get("created")
            return {**raw, "created": limit} if created and timestamp.from_text(created) > epoch else raw

        raw = earlier(self._raw)
        if raw.get("history"):
            raw = {**raw, "history": [earlier(entry) for entry in raw["history"]]}
        return ImageConfig(raw)

    # How

    @property
    def _container(self) -> _Json:
        return self._raw.get("config") or {}

    def _list(self, name: str) -> tuple[str, ...]:
        return tuple(self._container.get(name) or ())

    def _with(self, name: str, value: Any) -> ImageConfig:
        return self._top("config", {**self._container, name: value})

    def _top(self, name: str, value: Any) -> ImageConfig:
        return ImageConfig({**self._raw, name: value})


def new(platform: Platform) -> ImageConfig:
    """Return the config of an image without layers: `FROM scratch`."""
    return ImageConfig(
        {**descriptor.platform_to_dict(platform), "config": {}, "rootfs": {"type": "layers", "diff_ids": []}}
    )


def from_bytes(data: bytes, what: str = "the image config") -> ImageConfig:
    """Read a config that others wrote. `what` names it in the ImageError that a malformed one raises."""
    raw = canonical.from_bytes(data, what)
    for name in ("created", "author", "architecture", "os", "os.version", "variant"):
        canonical.text(raw, name, what)
    canonical.texts(raw, "os.features", what)
    rootfs = canonical.table(raw, "rootfs", what)
    if canonical.text(rootfs, "type", what) not in {"layers", ""}:
        raise ImageError(f"{what}: its root file system is of the type `{rootfs['type']}`, not `layers`")
    for diff_id in canonical.texts(rootfs, "diff_ids", what):
        digest.validate(diff_id)
    for entry in canonical.tables(raw, "history", what):
        for name in _HISTORY[:-1]:
            canonical.text(entry, name, what)
    container = canonical.table(raw, "config", what)
    for name in ("Env", "Entrypoint", "Cmd", "OnBuild", "Shell"):
        canonical.texts(container, name, what)
    for name in ("User", "WorkingDir", "StopSignal"):
        canonical.text(container, name, what)
    for name in ("ExposedPorts", "Volumes"):
        canonical.table(container, name, what)
    canonical.pairs(container, "Labels", what)
    check = canonical.table(container, "Healthcheck", what)
    canonical.texts(check, "Test", what)
    for name in _HEALTHCHECK[1:]:
        canonical.number(check, name, what)
    return ImageConfig({**raw, "rootfs": {**rootfs, "type": "layers", "diff_ids": list(rootfs.get("diff_ids") or ())}})


def _arranged(raw: _Json, order: tuple[str, ...], keep: frozenset[str] = frozenset()) -> _Json:
    """Known properties in order, empty ones left out unless kept; unknown ones behind them, sorted, as they are."""
    arranged = {name: raw[name] for name in order if raw.get(name) or (name in keep and name in raw)}
    known = frozenset(order)
    arranged |= {name: raw[name] for name in sorted(raw) if name not in known}
    return arranged
