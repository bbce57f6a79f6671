"""Outputs of a build: what `--output`, `--push`, `--load` and `--annotation` say together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from buildah_py.errors import UsageError
from buildah_py.frozen import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildah_py.outputs.spec import Output
    from buildah_py.registry import RegistryOptions


SQUASH_NEW: Final = "new"
SQUASH_ALL: Final = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapeOptions:
    """`squash` makes one layer of the new ones, or of all.

    `timestamp` (seconds since 1970) is the time of the image and of all that it adds to its base; files get it in
    whatever is written out. `without` are paths: what the build does there, or below, is not in the image.
    """

    squash: str = ""
    omit_history: bool = False
    unset_env: tuple[str, ...] = ()
    unset_labels: tuple[str, ...] = ()
    identity_label: bool = False
    timestamp: int | None = None
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """`specs` are `--output`s; `push` and `load` add one each. `annotations` are for all outputs that can have them.

    `rewrite_timestamp` has file times changed in all that is written out. `usual` are attributes of media types and
    compression, spelled as in an output, for all outputs that do not say them.
    """

    specs: tuple[str, ...] = ()
    push: bool = False
    load: bool = False
    annotations: tuple[str, ...] = ()
    rewrite_timestamp: bool = False
    usual: str = ""
    shape: ShapeOptions = field(default_factory=ShapeOptions)


def check_epoch(options: OutputOptions, outputs: Sequence[Output], epoch: int | None) -> None:
    """Refuse times that are to be rewritten to none. Raises UsageError."""
    if options.rewrite_timestamp and epoch is None:
        raise UsageError("--rewrite-timestamp needs a time", hint="add --source-date-epoch SECONDS")
    if outputs:
        from buildah_py.transfer.write import check_times

        check_times(outputs, epoch)


def read_outputs(
    options: OutputOptions, *, names: Sequence[str] = (), epoch: int | None, platforms: Sequence[str] = ()
) -> list[Output]:
    """Read and check them before anything is built. Raises UsageError; OutputError for what cannot be written.

    `platforms` are those that the build is for.
    """
    if options.shape.timestamp is not None and (epoch is not None or options.rewrite_timestamp):
        raise UsageError(
            "--timestamp sets all times, and --source-date-epoch only moves later ones back", hint="give one of them"
        )
    if not (options.specs or options.push or options.load or options.annotations):
        return []
    from buildah_py.frozen import replace
    from buildah_py.outputs import annotations, spec
    from buildah_py.transfer.write import check_outputs

    outputs = [spec.parse(text) for text in options.specs]
    if options.push:
        pushed = [replace(one, push=True) if one.type == "image" else one for one in outputs]
        outputs = pushed if any(one.push for one in pushed) else [*outputs, spec.parse("type=registry")]
    if options.load and not any(one.type == "docker" and one.dest is None for one in outputs):
        outputs.append(spec.parse("type=docker"))
    given = tuple(one for text in options.annotations for one in annotations.parse(text))
    if given:
        outputs = [
            replace(one, annotations=given + one.annotations) if one.type in spec.ANNOTATED else one for one in outputs
        ]
    if options.usual:
        usual = spec.parse(f"type=image,{options.usual}")
        outputs = [spec.with_usual(one, usual) for one in outputs]
    if len(platforms) > 1:
        _refuse_one_platform(outputs, platforms)
    check_outputs(outputs, names=names)
    return outputs


def _refuse_one_platform(outputs: Sequence[Output], platforms: Sequence[str]) -> None:
    """Refuse outputs that hold an image for one platform. Raises UsageError."""
    for one in outputs:
        if one.type == "docker":
            what = "--load, or type=docker without dest," if one.dest is None else "type=docker"
            raise UsageError(
                f"{what} takes an image for one platform, and this build is for {', '.join(platforms)}",
                hint="name one platform for it; `-o type=oci,dest=FILE`, --push and pybuild's own store take them all",
            )


def meant_for_pushes(
    registries: Callable[[], RegistryOptions] | None, outputs: Sequence[Output], names: Sequence[str]
) -> Callable[[], RegistryOptions] | None:
    """Have credentials of the command line, where the image is pushed, go to the registries that it is pushed to alone.

    Other registries that ask, for a base image, would be told a password that is none of their business.
    """
    pushed = [name for one in outputs if one.push for name in one.names or names]
    if registries is None or not pushed:
        return registries
    from buildah_py.frozen import replace
    from buildah_py.image import reference

    meant = frozenset(reference.parse(name).registry for name in pushed)
    return lambda: replace(registries(), credentials_for=meant)


def names_in_store(names: Sequence[str], outputs: Sequence[Output]) -> tuple[str, ...]:
    """All full names that the image gets in the store: `names`, and those of outputs that are images there."""
    from buildah_py.store.names import full_name

    of_outputs = (name for one in outputs if one.type == "image" and not one.push_by_digest for name in one.names)
    return tuple(dict.fromkeys((*names, *map(full_name, of_outputs))))
