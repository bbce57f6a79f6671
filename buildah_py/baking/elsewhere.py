"""The steps of a bake on a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py.baking.durations import Urgency
from buildah_py.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import ExitStack

    from buildah_py.baking.opening import OpenTarget
    from buildah_py.cluster.address import ClusterOptions
    from buildah_py.engine.elsewhere import Elsewhere
    from buildah_py.progress.events import Event


class Elsewheres(NamedTuple):
    """The steps of each target on a cluster, and how urgent each is."""

    steps: Sequence[Elsewhere]
    urgency: Urgency


def on_cluster(
    builds: Sequence[OpenTarget], emit: Callable[[Event], None], stack: ExitStack, options: ClusterOptions | None
) -> Elsewheres | None:
    """Give what executes steps on a cluster; nothing is connected before one has to be executed."""
    if options is None:
        return None
    if any(build.request.caching.share for build in builds):
        raise UsageError(
            "--cluster and --share: the scheduler of a cluster has each step executed once by itself",
            hint="leave out one of them; the configuration or PYBUILD_SHARE may say --share as well",
        )
    from buildah_py.cluster.client import Cluster
    from buildah_py.cluster.place import SharedPlace, choose_place
    from buildah_py.cluster.steps import ClusterSteps, SharedWork

    spec = choose_place(text for build in builds for text in build.request.caching.to)
    session = builds[0].session
    caches = next(build.session.caches for build in builds if build.session.caches is not None)
    cluster = Cluster(options, emit, session.worker.cancellation)
    stack.callback(cluster.close)
    work = SharedWork.of(cluster, spec, SharedPlace(spec, caches.shared), session.worker.store)
    urgency = Urgency(session.worker.store.root)
    steps = [
        ClusterSteps(work, build.item.name, build.session.worker, build.request.container, urgency.of)
        for build in builds
    ]
    return Elsewheres(steps, urgency)
