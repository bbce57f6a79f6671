"""Variables that steer other builders and have no meaning here: what asks for something gets a word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from buildah_py.image import numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OWN_CONTAINERS: Final = "pybuild makes containers itself"
_OWN_STORE: Final = "the state directory is pybuild's own"
_ONE_BUILDER: Final = "there is one builder, and it is this process"
NOTED: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "BUILDAH_LAYERS": (("true",), "each step is a layer, and is cached; --squash makes one layer"),
    "BUILDAH_RUNTIME": ((), _OWN_CONTAINERS),
    "BUILDKIT_COLORS": ((), "colours are pybuild's own; NO_COLOR switches them off"),
    "BUILDKIT_HOST": ((), _ONE_BUILDER),
    "BUILDKIT_TTY_LOG_LINES": (("6",), "the lines of the terminal are shared among the steps that are executed"),
    "BUILDX_BUILDER": (("default",), _ONE_BUILDER),
    "BUILDX_CPU_PROFILE": ((), "no profile is written; `pybuild report` shows where the time went"),
    "BUILDX_GIT_LABELS": (("false",), "no labels are made; --label org.opencontainers.image.revision=COMMIT makes one"),
    "BUILDX_MEM_PROFILE": ((), "no profile is written; `pybuild report` shows where the time went"),
    "BUILDX_METADATA_WARNINGS": (("false",), "warnings are shown, and are not in the metadata file"),
    "DOCKER_BUILDKIT": (("true",), "there is no other builder to choose"),
    "DOCKER_CONTEXT": (("default",), "there is no daemon to choose"),
    "STORAGE_DRIVER": ((), _OWN_STORE),
    "STORAGE_OPTS": ((), _OWN_STORE),
}
"""Variables with the values that ask for what happens anyway, and why others have no effect."""
_MULTI_PLATFORM: Final = "BUILDKIT_MULTI_PLATFORM"


def without_effect(environ: Mapping[str, str], build_args: Mapping[str, str]) -> Iterator[str]:
    """Say what was asked for and is not done."""
    for name, (fine, why) in NOTED.items():
        if name in ("BUILDX_BUILDER", "DOCKER_CONTEXT") and "PYBUILD_DOCKER_PLUGIN" in environ:
            continue  # docker's command line sets them, and they have a meaning there
        value = environ.get(name, "")
        known = numbers.boolean(value.lower())
        if value and (value if known is None else str(known).lower()) not in fine:
            yield f"{name}={value} has no effect: {why}"
    if numbers.boolean(build_args.get(_MULTI_PLATFORM, "").lower()):
        yield f"--build-arg {_MULTI_PLATFORM} has no effect: a build makes one image, without an index"
