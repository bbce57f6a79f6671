"""pybuild as a library: what `import buildah_py` gives.

Every function is what the command of the same name does. An ordinary user's work is done in a child process, which
enters a user namespace; events arrive in the calling thread, or for root in those of the build.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.errors import StepFailed
from buildah_py.library.built import Building, Built, StepCollector
from buildah_py.library.child import call_as_needed, child_started, environ_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from buildah_py.api.request import BuildRequest
    from buildah_py.explain.report import Report
    from buildah_py.progress.events import Event
    from buildah_py.query.images import ListedImage

    OnEvent = Callable[[Event], None]


def build(
    context: str | os.PathLike[str] | None = ".",
    *,
    file: str | os.PathLike[str] | None = None,
    text: str | None = None,
    tags: Iterable[str] = (),
    target: str = "",
    build_args: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    contexts: Mapping[str, str] | None = None,
    secrets: Mapping[str, bytes] | None = None,
    ssh: Iterable[str] = (),
    platform: str = "",
    pull: str = "missing",
    network: str = "default",
    allow: Iterable[str] = (),
    no_cache: bool = False,
    cache_from: Iterable[str] = (),
    cache_to: Iterable[str] = (),
    share: Iterable[str] = (),
    outputs: Iterable[str] = (),
    push: bool = False,
    load: bool = False,
    record: str = "",
    jobs: int = 0,
    extensions: bool = False,
    root: str | None = None,
    on_event: OnEvent = lambda _: None,
) -> Built:
    """Build an image, as `pybuild build` does.

    `context` is a directory, a URL, or None for an empty one; `text` is a build file's text in place of a file.
    `secrets` are values by their ids. `contexts`, `ssh`, `cache_from`, `cache_to`, `share`, `outputs` and `allow` are
    spelled as on the command line. `root` is the state directory, else the user's. `on_event` is called with each event
    of `buildah_py.progress.events`.

    Raises UsageError, BuildFileError, NotFound, StepFailed with the command's status in `exit_status`, its `step` and
    the end of its `output`, and others of PybuildError.
    """
    request = _request(
        context,
        file,
        root,
        secrets or {},
        text=text,
        names=tuple(tags),
        target=target,
        build_args=dict(build_args or {}),
        env=dict(env or {}),
        labels=dict(labels or {}),
        contexts=_specs(contexts),
        ssh=tuple(ssh),
        platform=platform,
        pull=pull,
        network=network,
        allow=frozenset(allow),
        no_cache=no_cache,
        caching=(tuple(cache_to), tuple(cache_from), (), tuple(share)),
        outputs=(tuple(outputs), push, load),
        record=record,
        jobs=jobs,
        extensions=extensions,
    )
    collector = StepCollector(on_event)
    try:
        result = call_as_needed("buildah_py.api.build:build", request, request.environ, collector)
    except StepFailed as error:
        collector.complete(error)
        raise
    digest = result.descriptor.digest if result.descriptor is not None else ""
    return Built(result.image, result.names, result.hits, result.ran, digest, collector.steps(), root, result.history)


def start_build(context: str | os.PathLike[str] | None = ".", **options: Any) -> Building:
    """Begin a build in a child process, with the options of `build`, but for `on_event`.

    Iterate over its events, then ask for its `result()`, which raises what `build` raises.
    """

    def work(on_event: OnEvent, started: Callable[[int], object]) -> Built:
        child_started.set(started)
        return build(context, **options, on_event=on_event)

    return Building(work)


def why(
    context: str | os.PathLike[str] | None = ".",
    *,
    step: str = "all",
    against: str = "",
    file: str | os.PathLike[str] | None = None,
    tags: Iterable[str] = (),
    target: str = "",
    build_args: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    contexts: Mapping[str, str] | None = None,
    secrets: Mapping[str, bytes] | None = None,
    platform: str = "",
    extensions: bool = False,
    root: str | None = None,
) -> Report:
    """Tell why the steps of a build would hit or miss the cache, as `pybuild why` does; nothing is built.

    Options that enter keys are given as to `build`. `step` is `all`, a number, a stage or `STAGE/NUMBER`; `against` a
    file that `record` of another build wrote. Raises what planning a build raises, and CacheError for a file that is
    not a record.
    """
    from buildah_py.commands.why import select

    request = _request(
        context,
        file,
        root,
        secrets or {},
        names=tuple(tags),
        target=target,
        build_args=dict(build_args or {}),
        env=dict(env or {}),
        contexts=_specs(contexts),
        platform=platform,
        extensions=extensions,
    )
    found: Report = call_as_needed("buildah_py.library.calls:_why", (request, against), request.environ, lambda _: None)
    return select(found, step)


def pull(
    name: str,
    *,
    platform: str = "",
    all_tags: bool = False,
    root: str | None = None,
    on_event: OnEvent = lambda _: None,
) -> list[str]:
    """Get an image, or all tags of a repository, from a registry; their ids. Raises NotFound, RegistryError."""
    environ = environ_of(root)
    ids: list[str] = call_as_needed(
        "buildah_py.library.calls:_pull", (name, platform, all_tags, environ), environ, on_event
    )
    return ids


def push(
    name: str,
    destination: str = "",
    *,
    all_tags: bool = False,
    compression: str | None = None,
    root: str | None = None,
    on_event: OnEvent = lambda _: None,
) -> str:
    """Push an image of the store to a registry, or write it elsewhere (`oci-archive:FILE`); the digest of its manifest.

    Raises NotFound, RegistryError, OutputError.
    """
    environ = environ_of(root)
    request = (name, destination, all_tags, compression, environ)
    digest: str = call_as_needed("buildah_py.library.calls:_push", request, environ, on_event)
    return digest


def run(
    image: str,
    command: Sequence[str] = (),
    *,
    env: Mapping[str, str] | None = None,
    user: str = "",
    cwd: str = "",
    network: str = "default",
    interactive: bool = False,
    ports: Iterable[str | int] = (),
    root: str | None = None,
    on_event: OnEvent = lambda _: None,
) -> int:
    """Run a command in a container of an image, on this process's standard streams; the command's exit status.

    `interactive` passes standard input on; `ports` are spelled as values of `--publish`. `start_container` does not
    wait for its end. Raises NotFound, UsageError, SandboxError.
    """
    from buildah_py.library.child import call

    environ = environ_of(root)
    published = tuple(map(str, ports))
    request = {
        "image": image,
        "command": tuple(command),
        "env": dict(env or {}),
        "user": user,
        "cwd": cwd,
        "network": network,
        "interactive": interactive,
        "ports": published,
        "name": "" if published else None,
    }
    status: int = call("buildah_py.library.calls:_run", request, environ, on_event)  # it changes signals
    return status


def images(name: str | None = None, *, root: str | None = None) -> list[ListedImage]:
    """List the names of the images in the store, the newest image first; those called `name` alone, if given."""
    from buildah_py.api.state import open_store
    from buildah_py.query.images import list_images

    with open_store(environ_of(root)) as store:
        return list_images(store, name, warn=lambda _: None)


def remove(name: str, *, force: bool = False, root: str | None = None) -> list[str]:
    """Take a name away, and the image with its last one; what was done, a line each. Raises NotFound, UsageError."""
    from buildah_py.api.state import open_store
    from buildah_py.commands.images import remove_image

    with open_store(environ_of(root)) as store:
        return remove_image(store, name, force=force)


def _specs(contexts: Mapping[str, str] | None) -> tuple[str, ...]:
    return tuple(f"{name}={value}" for name, value in (contexts or {}).items())


def _request(
    context: str | os.PathLike[str] | None,
    file: str | os.PathLike[str] | None,
    root: str | None,
    secrets: Mapping[str, bytes],
    *,
    no_cache: bool = False,
    caching: tuple[tuple[str, ...], ...] = (),
    outputs: tuple[tuple[str, ...], bool, bool] = ((), False, False),
    **options: Any,
) -> BuildRequest:
    from buildah_py.api.output_options import OutputOptions
    from buildah_py.api.request import BuildRequest
    from buildah_py.api.reuse import ReuseOptions
    from buildah_py.sharing.options import CacheOptions

    specs, push_, load = outputs
    variables = {f"PYBUILD_SECRET {name}": value.decode("utf-8", "surrogateescape") for name, value in secrets.items()}
    return BuildRequest(
        context=os.fspath(context) if context is not None else None,
        file=os.fspath(file) if file is not None else None,
        secrets=tuple(f"id={name},env=PYBUILD_SECRET {name}" for name in secrets),
        reuse=ReuseOptions(no_cache=no_cache),
        caching=CacheOptions(*caching),
        outputs=OutputOptions(specs=specs, push=push_, load=load),
        environ={**environ_of(root), **variables},
        **options,
    )


# Called with (request, on_event), here or in a child.


def _why(request: tuple[BuildRequest, str], _on_event: OnEvent) -> Report:
    from buildah_py.commands.why import why as explain

    return explain(request[0], against=request[1])


def _pull(request: tuple[str, str, bool, Mapping[str, str]], on_event: OnEvent) -> list[str]:
    from buildah_py.api.state import open_store
    from buildah_py.commands.pull import pull as get
    from buildah_py.meter import Listening
    from buildah_py.progress.events import Note
    from buildah_py.transfer.provider import Registries

    name, platform, all_tags, environ = request

    def tell(text: str) -> None:
        on_event(Note(text))

    registries = Registries(environ)
    with Listening(on_event), open_store(environ, registries, tell=tell) as store:
        return list(get(store, registries, name, platform=platform, all_tags=all_tags, tell=tell))


def _push(request: tuple[str, str, bool, str | None, Mapping[str, str]], on_event: OnEvent) -> str:
    from buildah_py.api.state import open_store
    from buildah_py.commands.push import PushRequest, push_stored
    from buildah_py.meter import Listening
    from buildah_py.registry import RegistryOptions
    from buildah_py.transfer.provider import Registries

    name, destination, all_tags, compression, environ = request
    options = RegistryOptions.from_environment(environ)
    wanted = PushRequest(name=name, destination=destination, all_tags=all_tags, compression=compression)
    with Listening(on_event), open_store(environ, Registries(environ, lambda: options)) as store:
        return push_stored(store, wanted, options, on_event).digest


def _run(request: dict[str, Any], on_event: OnEvent) -> int:
    from buildah_py.library.containers import hearers, run_request
    from buildah_py.running.image import run_image

    return run_image(run_request(request), *hearers(on_event))
