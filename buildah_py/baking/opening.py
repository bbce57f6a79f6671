"""Targets of a bake: what each asks for, checked before anything is opened, and opened together in one store."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py.api.opening import open_build, plan_options, target_platforms
from buildah_py.api.output_options import check_epoch, meant_for_pushes, names_in_store, read_outputs
from buildah_py.contexts.several import SeveralContexts
from buildah_py.errors import PybuildError, UsageError
from buildah_py.frozen import replace
from buildah_py.outputs.target import STDOUT
from buildah_py.plan.graph import BUILT, GraphPart
from buildah_py.plan.steps import CaptureStep, CopyStep, RunStep
from buildah_py.progress import events
from buildah_py.sharing.options import CacheOptions
from buildah_py.store.names import familiar_name, full_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import ExitStack

    from buildah_py.api.opening import BuildSession
    from buildah_py.api.request import BuildRequest
    from buildah_py.contexts.main import MainContext
    from buildah_py.errors import BuildFileError
    from buildah_py.outputs.spec import Output
    from buildah_py.plan import PlanOptions
    from buildah_py.plan.steps import Step
    from buildah_py.progress.events import Event
    from buildah_py.registry import RegistryOptions
    from buildah_py.store import LayerProvider, Store


class BakeItem(NamedTuple):
    """A target to be built: it stands behind those that it `takes`, whose results are contexts of it.

    One that is not `exported` is there for others alone. `explain` says of an error in the request where that stands.
    """

    name: str
    request: BuildRequest
    takes: tuple[str, ...] = ()
    exported: bool = True
    explain: Callable[[UsageError], PybuildError] = lambda error: error


class OpenTarget(NamedTuple):
    """A target with all that its build works with; `number` is its part of the graph."""

    item: BakeItem
    number: int
    given: tuple[str, ...]
    names: tuple[str, ...]
    outputs: Sequence[Output]
    session: BuildSession
    options: Sequence[PlanOptions]
    platforms: Sequence[str]

    @property
    def request(self) -> BuildRequest:
        """Give what is asked for."""
        return self.item.request


class CheckedTarget(NamedTuple):
    """Facts about a target from before a store is opened: its full names, those in the store, and its outputs."""

    given: tuple[str, ...]
    names: tuple[str, ...]
    outputs: Sequence[Output]
    registries: Callable[[], RegistryOptions] | None


def image_of(target: str) -> str:
    """Return the name by which build files of one bake take what a target makes, as an image's."""
    return f"{BUILT}{target}"


def check(item: BakeItem) -> CheckedTarget:
    """Check what a target asks for before anything is built. Raises UsageError, OutputError."""
    try:
        return _check_request(item.request, item.exported)
    except UsageError as error:
        raise item.explain(error) from error


def _check_request(request: BuildRequest, exported: bool) -> CheckedTarget:
    from buildah_py.api.rights import check_rights, refuse_deletion

    given = tuple(dict.fromkeys(map(full_name, request.names))) if exported else ()
    options, platforms = request.outputs, target_platforms(request)
    outputs = read_outputs(options, names=given, epoch=request.epoch, platforms=platforms) if exported else []
    check_rights(request.allow)
    refuse_deletion(outputs, request)
    registries = meant_for_pushes(request.registries, outputs, given)
    if request.attest and exported:
        from buildah_py.attest.options import check_outputs_for

        check_outputs_for(request.attest, outputs)
    if request.sign is not None and exported:
        from buildah_py.attest.signing import check_signed

        check_signed(outputs)
    return CheckedTarget(given, names_in_store(given, outputs), outputs, registries)


def check_together(items: Sequence[BakeItem], checked: Sequence[CheckedTarget], emit: Callable[[Event], None]) -> None:
    """See that targets do not get in each other's way. Raises UsageError."""
    owners: dict[str, str] = {}
    writers: list[str] = []
    for item, one in zip(items, checked, strict=True):
        for name in one.names:
            other = owners.setdefault(name, item.name)
            if other != item.name:
                text = f"the targets {other} and {item.name} are both named {familiar_name(name)}: the latter keeps it"
                emit(events.Warning(text))
        if any(output.dest == STDOUT for output in one.outputs):
            writers.append(item.name)
    if len(writers) > 1:
        raise UsageError(
            f"the targets {' and '.join(writers)} both write to the standard output",
            hint='give each a file: output = ["type=tar,dest=FILE"]',
        )


def opened_together(
    items: Sequence[BakeItem], emit: Callable[[Event], None], stack: ExitStack, provider: LayerProvider
) -> list[OpenTarget]:
    """Open targets that are only looked at, until `stack` ends; layers come from `provider`."""
    return list(opened(items, [check(item) for item in items], emit, stack, provider=provider))


def opened(
    items: Sequence[BakeItem],
    checked: Sequence[CheckedTarget],
    emit: Callable[[Event], None],
    stack: ExitStack,
    *,
    unread: Callable[[Store, MainContext, BuildFileError], None] = lambda *_: None,
    provider: LayerProvider | None = None,
    elsewhere: str | None = None,
) -> Iterator[OpenTarget]:
    """Open what each target works with: one store, one sandbox, and one of each context."""
    contexts = SeveralContexts()
    from_ = tuple(dict.fromkeys(text for item in items for text in item.request.caching.from_))
    share = tuple(dict.fromkeys(text for item in items for text in item.request.caching.share))
    platforms = _platforms(items)
    lead: BuildSession | None = None
    for number, (item, one) in enumerate(zip(items, checked, strict=True)):
        request = item.request
        own = CacheOptions(request.caching.to if item.exported else (), from_, request.caching.mounts, share)
        try:
            session = stack.enter_context(
                open_build(
                    replace(request, caching=own),
                    one.names,
                    emit,
                    registries=one.registries,
                    provider=provider,
                    unread=unread,
                    within=lead,
                    elsewhere=elsewhere,
                )
            )
        except UsageError as error:
            raise item.explain(error) from error
        lead = lead or session
        check_epoch(request.outputs, one.outputs, session.settled.epoch)
        if len(target_platforms(request)) > 1 or request.attest:
            from buildah_py.transfer.lists import refuse_to_replace

            refuse_to_replace(session.worker.store, one.names)
        names = contexts.add(session.contexts, session.main, session.sources, session.named)
        session = session._replace(worker=session.worker._replace(contexts=contexts))
        part = GraphPart(number, item.name, names, _apart(request, session), request.pull, image_of(item.name))
        options = [
            replace(option, part=part)
            for option in plan_options(replace(request, platform=",".join(platforms[item.name])), session)
        ]
        yield OpenTarget(item, number, one.given, one.names, one.outputs, session, options, target_platforms(request))


def _platforms(items: Sequence[BakeItem]) -> dict[str, list[str]]:
    """Tell for which platforms each target is planned: its own, and those of the targets that take it."""
    found = {item.name: dict.fromkeys(target_platforms(item.request)) for item in items if item.exported}
    for item in reversed(items):
        own = found.setdefault(item.name, {})
        for other in item.takes:
            found.setdefault(other, {}).update(own)
    return {name: list(some) for name, some in found.items()}


def _apart(request: BuildRequest, session: BuildSession) -> Callable[[Step, str], str]:
    """Give what tells which steps of a target are not another's, though they look alike."""
    secrets = repr((request.secrets, request.ssh))
    limits = repr((request.container, request.caching.mounts))
    policy = session.policy

    def apart(step: Step, stage: str) -> str:
        found = [f"executed {policy.ttl}" if policy.forbids(stage) else f"known {policy.ttl}"]
        run = step.run if isinstance(step, CaptureStep) else step
        if isinstance(run, RunStep):
            found.append(limits)
            if any(mount.type in ("secret", "ssh") for mount in run.mounts):
                found.append(secrets)
        elif isinstance(run, CopyStep) and run.add:
            found.append(secrets)
        return "\n".join(found)

    return apart
