"""Orders and reports: what a worker is told of a step, and what it says of it. Layers and files of contexts are named
by digest alone; they lie in the shared place.

Both cross Dask as bytes, pickled: whoever may speak to a Dask scheduler can run anything on its workers by design, and
the version is compared before anything is unpickled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.cache.keys import KEY_VERSION
from buildah_py.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from buildah_py.api.container import ContainerOptions
    from buildah_py.cache import Made
    from buildah_py.engine.ops import Usage
    from buildah_py.engine.results import Result
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.layers.limits import ArchiveLimits
    from buildah_py.layers.stamps import Stamps
    from buildah_py.plan import Node
    from buildah_py.store import Origin

VERSION: Final = f"{__version__} (keys {KEY_VERSION}, orders 1)"
"""Both sides have to be of one."""
METADATA: Final = "pybuild"
"""Where the scheduler keeps reports that the client has: a step that is asked for again has been done."""


class LayerNote(NamedTuple):
    """A layer that a step needs: where its bytes can be had, and what is said of its content, with which stamps."""

    diff_id: str
    size: int
    created: int
    origins: tuple[Origin, ...]
    said: tuple[tuple[str, Stamps], ...] = ()


class StepOrder(NamedTuple):
    """A step to be done. `place` is the shared place as `--cache-to` has it, without anything secret.

    `bundle` holds the files of contexts that the step reads. `key` is the step's, "" where it is only asked what its
    inputs hold; with `anew` it is executed whatever is known of it. `secrets` and `agents` are
    those that it may have, which the worker was given itself. `number` tells orders of a bake apart, `topic` is
    where its events go.
    """

    bake: str
    number: int
    topic: str
    place: str
    node: Node
    parent: Result
    trees: tuple[Result | None, ...]
    layers: tuple[LayerNote, ...]
    bundle: Descriptor | None
    key: str
    anew: bool
    container: ContainerOptions
    observe: str
    limits: ArchiveLimits
    secrets: frozenset[str] = frozenset()
    agents: frozenset[str] = frozenset()


class OrderReport(NamedTuple):
    """Report of a step that is done: by which worker, with what. `inputs` and `selections` are digests.

    `blob` is the layer's in the shared place. Without a `made`, the worker was only asked what the inputs hold.
    """

    worker: str
    key: str
    inputs: Mapping[str, str]
    selections: Mapping[str, str]
    made: Made | None = None
    blob: Descriptor | None = None
    size: int = 0
    seconds: float = 0.0
    created: int = 0
    executed: bool = True
    usage: Usage | None = None
    learned: tuple[str, bytes] | None = None


class Introduction(NamedTuple):
    """Facts that a worker says of itself. `problem` is why it cannot take part, "" for nothing.

    `platforms` are those whose programs it runs, its own first; `secrets` and `agents` the ids that it was given.
    """

    name: str
    version: str
    problem: str = ""
    hint: str = ""
    platforms: tuple[str, ...] = ()
    secrets: frozenset[str] = frozenset()
    agents: frozenset[str] = frozenset()
    threads: int = 1


def resource(platform: str) -> str:
    """Name the resource that a worker offers which executes steps for a platform."""
    return f"pybuild {VERSION} {platform}"


def lent(secrets: Iterable[str], agents: Iterable[str]) -> list[str]:
    """Name the resources that a worker offers which was given these."""
    return [*(f"pybuild secret {one}" for one in secrets), *(f"pybuild agent {one}" for one in agents)]
