"""pybuild: a declarative, Dockerfile-compatible image builder.

    >>> import buildah_py as pybuild
    >>> pybuild.build(".", tags=["app"])  # doctest: +SKIP

The names in `__all__` are the library; all other modules and names are private and may change from version to version.
Nothing is imported before it is used.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildah_py.errors import (
        BuildFileError,
        Interrupted,
        NotFound,
        PybuildError,
        RegistryError,
        SandboxError,
        StepFailed,
        UsageError,
    )
    from buildah_py.library.built import Building, BuildStep, Built, save
    from buildah_py.library.calls import build, images, pull, push, remove, run, start_build, why
    from buildah_py.library.containers import ContainerPort, Executed, StartedContainer, start_container
    from buildah_py.version import __version__

__all__ = [
    "BuildFileError",
    "BuildStep",
    "Building",
    "Built",
    "ContainerPort",
    "Executed",
    "Interrupted",
    "NotFound",
    "PybuildError",
    "RegistryError",
    "SandboxError",
    "StartedContainer",
    "StepFailed",
    "UsageError",
    "__version__",
    "build",
    "images",
    "pull",
    "push",
    "remove",
    "run",
    "save",
    "start_build",
    "start_container",
    "why",
]

_HOMES = {
    **{name: "errors" for name in __all__ if name[0].isupper()},
    **dict.fromkeys(("BuildStep", "Building", "Built", "save"), "library.built"),
    **dict.fromkeys(("ContainerPort", "Executed", "StartedContainer", "start_container"), "library.containers"),
    "__version__": "version",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'library.calls')}"), name)


def __dir__() -> list[str]:
    return __all__
