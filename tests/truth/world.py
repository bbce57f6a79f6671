"""Where histories are played: a store that lives as long as its history, and one that is empty before each build."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from unittest import mock

from buildah_py.api import build as build_api
from buildah_py.api import opening
from buildah_py.api.build import build
from buildah_py.api.output_options import OutputOptions
from buildah_py.api.request import BuildRequest, BuildResult
from buildah_py.api.reuse import ReuseOptions
from buildah_py.commands.images import remove_image
from buildah_py.errors import BuildFileError, Interrupted, NotFound, PybuildError, SourceError, StepFailed
from buildah_py.frozen import replace
from buildah_py.layers.entry import SECOND
from buildah_py.progress import events
from buildah_py.query.fsck import fsck
from buildah_py.repeat.answer import find_answer
from buildah_py.repeat.command import CommandLine
from buildah_py.repeat.saved import identity
from buildah_py.sandbox import Sandbox
from buildah_py.sharing.options import CacheOptions
from buildah_py.store import Store
from buildah_py.store.collect import Rules, collect
from buildah_py.transfer.bootstrap import bootstrap

from .images import (
    Failure,
    Image,
    Outcome,
    differences,
    merged,
    read_archive,
    read_image,
    without_arbitrary,
    without_digests,
)
from .inputs import Build, Dir, File, Link, Move, Node, Prune, Stop, Tar, source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from buildah_py.engine.runner import Observed
    from buildah_py.layers.entry import Entry
    from buildah_py.repeat.saved import Saved

    from .inputs import Action

NOT_AS_PROMISED = 77
"""The exit status of a RUN that found something else than the build file says."""
BASE = """\
FROM busybox
RUN mkdir -p -m 700 /d/e && mkdir -p /w && for f in a b d/x d/e/y; do echo $f > /$f; done; ln /a /w/a; ln -s /b /w/l; \\
    chown -R 7:8 /d/e; chmod 4711 /b; touch -d @50000 /b /d /d/x
"""
"""The image `base`, where there is something to change."""
_KEPT = 500
_NO_CONFIG: dict[str, Any] = {"rootfs": {"diff_ids": []}}


class WrongError(AssertionError):
    """A build did not give what it had to. The message holds the history, to be played again."""

    def __init__(self, found: list[str], actions: tuple[Action, ...]) -> None:
        super().__init__("\n".join([*found[:12], source(actions)]))
        self.found = found


class _Steps:
    """A recorder that writes nothing down."""

    def __init__(self) -> None:
        self.found: list[Observed] = []
        self.reasons: dict[int, str] = {}

    def hear(self, event: events.Event) -> None:
        if isinstance(event, events.StepDone):
            self.reasons[event.id - 1] = event.reason

    def observe(self, seen: Observed) -> None:
        self.found.append(seen)

    def write(self, *_what: object) -> None:
        pass


class _LastingSandbox(Sandbox):
    """One helper process for all builds: to start it takes longer than most containers do."""

    def release(self) -> None:
        pass

    def close(self) -> None:
        pass

    def end(self) -> None:
        super().release()
        super().close()


class World:
    """Two stores on a tmpfs and a context; context manager. `play` does one history, from an empty store."""

    def __init__(self) -> None:
        shared = "/dev/shm"
        self._root = tempfile.mkdtemp(prefix="pybuild-truth-", dir=shared if os.access(shared, os.W_OK) else None)
        self._lasting, self._empty, self._template = (os.path.join(self._root, name) for name in ("old", "new", "db"))
        self._context, self._file = (os.path.join(self._root, name) for name in ("context", "Buildfile"))
        self._written: dict[str, Node] = {}
        self._known: dict[tuple[object, ...], Outcome] = {}
        self._played: list[Action] = []
        self._caches: list[str] = []
        self._held = contextlib.ExitStack()
        self.builds = 0
        """How many builds were compared."""
        self.observed = 0
        """How many hits there were because of what steps were seen to read."""
        self.answered = 0
        """How many commands would have been answered from what they led to before."""

    def __enter__(self) -> Self:
        self._held.callback(shutil.rmtree, self._root)
        sandbox = _LastingSandbox(os.path.join(self._root, "sandbox"))
        self._held.callback(sandbox.end)
        self._held.enter_context(mock.patch.object(opening, "_make_sandbox", return_value=sandbox))
        os.mkdir(self._context)
        with Store(self._empty) as store:
            bootstrap(store, "busybox")
            image = store.images.by_name("docker.io/library/busybox:latest")
            assert image is not None
            self.bottom: tuple[Entry, ...] = read_image(store, image.id, 0, epoch=None).layers[0]
            """What the layer of `busybox` holds."""
        base = build(self._request(self._empty, BASE, "base"), lambda _: None)
        with Store(self._empty) as store:
            files = merged((), read_image(store, base.image, 0, epoch=None))
            self.base: tuple[Entry, ...] = tuple(entry for entry, _ in files.values())
            """What `base` shows."""
            for used in ("logs", "stat-cache"):
                for path in _inside(store.path(used)):
                    shutil.rmtree(path)
            self._layers = frozenset(os.listdir(store.path("layers")))
        subprocess.run(["cp", "-a", self._empty, self._lasting], check=True)
        shutil.copy(os.path.join(self._empty, "state.db"), self._template)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def start(self) -> None:
        """Begin a history: the store that lasts is empty again."""
        self._played.clear()
        while self._caches:
            shutil.rmtree(self._caches.pop())
        self._clear(self._lasting)

    def play(self, *actions: Action) -> None:
        """Play a whole history. Raises WrongError."""
        self.start()
        for action in actions:
            self.act(action)
        self.check()

    def act(self, action: Action) -> bool:
        """Do what comes next in the history; whether that went well. Raises WrongError."""
        self._played.append(action)
        if isinstance(action, Prune):
            self._prune(action)
            return True
        if isinstance(action, Move):
            self._write_context(action.build.files)
            self._move(action)
            return False
        if isinstance(action, Stop):
            self._write_context(action.build.files)
            if action.kill:
                self._kill(action)
            else:
                self._interrupt(action)
            return False
        self._write_context(action.files)
        self.builds += 1
        there = self._build(self._lasting, action)
        fresh = self.fresh(action)
        found = [
            f"fault: {outcome.error}" for outcome in (fresh, there) if isinstance(outcome, Failure) and outcome.fault
        ]
        found += differences(there, fresh, self.bottom)
        if isinstance(fresh, Image) and action.dates:
            files = merged(self.bottom, fresh)
            found += [
                f"fresh /{path} mtime: {files[path][0].mtime}, set to {date}"
                for path, date in action.dates.items()
                if files[path][0].mtime != date
            ]
        if found:
            raise WrongError(found, tuple(self._played))
        return isinstance(there, Image)

    def steps(self, what: Build, *, fresh: bool = False) -> list[Observed]:
        """Build in the store that lasts, or unobserved in an empty one, and tell how each step went. Raises WrongError.

        Those of base images are left out.
        """
        self._write_context(what.files)
        root = self._lasting
        if fresh:
            self._clear(root := self._empty)
        heard = _Steps()
        recorders = itertools.chain([heard], iter(_Steps, None))  # what is built once more tells nobody
        with mock.patch.object(build_api, "_recorder", side_effect=recorders):
            outcome = self._build(root, what, heard.hear)
        if isinstance(outcome, Failure):
            raise WrongError([outcome.error], (what,))
        return [one._replace(reason=heard.reasons[one.node.index]) for one in heard.found]

    def stages(self, steps: Iterable[Observed], *, fresh: bool = False) -> dict[str, Image]:
        """Give what the stages of a build have above their bases, by their names, of what `steps` told."""
        nodes = {one.node.index: one for one in steps}
        tops = {one.node.stage: one.node for _, one in sorted(nodes.items())}
        found = {}
        with Store(self._empty if fresh else self._lasting) as store:
            for stage, node in tops.items():
                layers: list[tuple[Entry, ...]] = []
                while (told := nodes.get(node.index)) is not None:
                    inventory = store.layers.inventories.get(told.record.diff_id)
                    layers.insert(0, tuple(entry._replace(mtime=entry.mtime // SECOND) for entry in inventory))
                    if told.node.parent not in nodes:
                        break
                    node = nodes[told.node.parent].node
                found[stage] = without_arbitrary(Image(tuple(layers), _NO_CONFIG), epoch=None)
        return found

    @property
    def context(self) -> Path:
        """The context of what was built last."""
        return Path(self._context)

    def export(self, name: str, directory: Path) -> Path:
        """Write an image that all builds begin with as an archive that all builders take."""
        path = directory / f"{name}.tar"
        request = self._request(self._empty, f"FROM {name}\n", name)
        build(replace(request, outputs=OutputOptions(specs=(f"type=docker,dest={path}",))), lambda _: None)
        return path

    # builds

    def fresh(self, what: Build) -> Outcome:
        """Build in an empty store, or remember what that gave."""
        self._write_context(what.files)
        known = self._known.get(what.inputs)
        if known is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._clear(self._empty)
            known = self._known[what.inputs] = self._build(
                self._empty, what._replace(no_cache=False, no_cache_filter=())
            )
        return known

    def _build(
        self, root: str, what: Build, emit: Callable[[events.Event], None] = lambda _: None, export: str = ""
    ) -> Outcome:
        archive = os.path.join(self._root, "archive")
        imported = self._caches[-1:] if root == self._lasting else []
        caching = CacheOptions(
            to=(f"type=local,dest={export},mode=max",) if export else (),
            from_=tuple(f"type=local,src={path}" for path in imported),
        )
        archived = what.rewrite or bool(imported)  # layers that are elsewhere come with the archive

        def hear(event: events.Event) -> None:
            if isinstance(event, events.StepDone) and event.outcome == events.HIT and event.reason:
                self.observed += 1
            emit(event)

        try:
            if what.base:
                build(self._request(root, what.base, "onb"), hear)
            self._write_text(what.text)
            request = replace(
                self._request(root, None, "it"),
                file=self._file,
                caching=caching,
                target=what.target,
                build_args=_arguments(what),
                epoch=what.epoch,
                reuse=ReuseOptions(
                    no_cache=what.no_cache,
                    no_cache_filter=what.no_cache_filter,
                    observe="off" if root == self._empty else "on",
                ),
                outputs=OutputOptions(
                    specs=(f"type=oci,dest={archive},compression=uncompressed",) if archived else (),
                    rewrite_timestamp=what.rewrite,
                ),
            )
            result = build(request, hear) if root == self._empty else self._build_again(request, hear)
        except StepFailed as error:
            return Failure(str(error), error.exit_status == NOT_AS_PROMISED)
        except (BuildFileError, NotFound, SourceError, Interrupted) as error:
            return Failure(f"{type(error).__name__}: {error}", fault=False)
        except PybuildError as error:
            return Failure(f"{type(error).__name__}: {error}", fault=True)
        if archived:
            image = read_archive(archive, 1)
            exact = image._replace(config=without_digests(image.config))
            return exact if what.rewrite else without_arbitrary(image, epoch=what.epoch)
        with Store(root) as store:
            return read_image(store, result.image, 1, epoch=what.epoch)

    def _build_again(self, request: BuildRequest, hear: Callable[[events.Event], None]) -> BuildResult:
        """Build, and once more where steps were executed: then all are hits. Raises WrongError.

        What the command would be answered with, if it were asked for on the command line, is what it leads to.
        """
        said = repr((request.names, request.target, request.build_args, request.epoch, request.reuse, request.outputs))
        # Files were written just now, but not while the build goes on; the kernel tells all later changes apart.
        command = CommandLine(identity((said,), self._context, {}, ()), time.time_ns() + 100_000_000)
        request = replace(request, command=command)
        root = request.environ["PYBUILD_ROOT"]
        result = self._answered(find_answer(root, command.identity), build(request, hear))
        if result.ran and request.reuse == ReuseOptions(observe=request.reuse.observe):
            again = build(request, lambda _: None)
            if (again.image, again.ran) != (result.image, 0):
                found = f"the same again is {again.image} with {again.ran} steps executed, was {result.image}"
                raise WrongError([found], (*self._played,))
            self._answered(find_answer(root, command.identity), again)
        return result

    def _answered(self, told: Saved | None, result: BuildResult) -> BuildResult:
        """Compare what a command was answered with, if it was, with what it has led to. Raises WrongError."""
        if told is not None:
            self.answered += 1
            if (told.image, 0) != (result.image, result.ran):
                raise WrongError([f"answered with {told.image} without a look, is {result.image}"], (*self._played,))
        return result

    def _request(self, root: str, text: str | None, name: str) -> BuildRequest:
        environ = {"PYBUILD_ROOT": root}
        return BuildRequest(context=self._context, text=text, names=(name,), network="none", environ=environ)

    def _interrupt(self, stop: Stop) -> None:
        count = 0

        def emit(event: events.Event) -> None:
            nonlocal count
            count += 1
            if count == stop.after and not isinstance(event, events.BuildFailed):
                raise Interrupted("interrupted")

        self._build(self._lasting, stop.build, emit)

    def _kill(self, stop: Stop) -> None:
        """Build in a process of its own, which is killed."""
        what = stop.build
        options = [f"--build-arg={name}={value}" for name, value in _arguments(what).items()]
        options += [f"--target={what.target}"] if what.target else []
        options += ["--no-cache"] if what.no_cache else []
        command = [
            sys.executable,
            "-m",
            "buildah_py",
            "build",
            "--progress=json",
            "--network=none",
            "-t",
            "it",
            *options,
        ]
        if what.base:
            self._build(self._lasting, what._replace(text=what.base, base=""))
        with (
            tempfile.TemporaryFile() as text,
            subprocess.Popen(
                [*command, "-f", "-", self._context],
                stdin=text,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**os.environ, "PYBUILD_ROOT": self._lasting},
            ) as process,
        ):
            text.write(what.text.encode())
            text.seek(0)
            assert process.stderr is not None
            for count, _ in enumerate(process.stderr, 1):
                if count == stop.after:
                    process.kill()
                    break

    # the store

    def _move(self, move: Move) -> None:
        """Export the cache, and go on in an empty store."""
        export = os.path.join(self._root, f"cache{len(self._caches)}")
        self._build(self._lasting, move.build, export=export)
        self._clear(self._lasting)
        if os.path.exists(export):
            self._caches.append(export)

    def check(self) -> None:
        """Look whether the lasting store is whole. Raises WrongError."""
        faults = fsck(self._lasting).faults
        if faults:
            raise WrongError([f"store: {fault}" for fault in faults], tuple(self._played))

    def _prune(self, prune: Prune) -> None:
        with Store(self._lasting) as store:
            if prune.everything:
                for name in ("it", "onb"):
                    with contextlib.suppress(NotFound):
                        remove_image(store, name, force=True)
            collect(store, Rules())

    def _clear(self, root: str) -> None:
        """Bring a store back to where it holds the base image alone."""
        for entry in list(os.scandir(root)):
            if entry.name == "layers":
                for layer in os.listdir(entry.path):
                    if layer not in self._layers:
                        shutil.rmtree(os.path.join(entry.path, layer))
            elif entry.is_dir():
                for path in _inside(entry.path):
                    shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
            elif entry.name.startswith("state.db"):
                os.unlink(entry.path)
        shutil.copyfile(self._template, os.path.join(root, "state.db"))

    # the context

    def _write_text(self, text: str) -> None:
        """Make the build file what it is to be, without touching one that stays as it was."""
        path, data = Path(self._file), text.encode("utf-8", "surrogateescape")
        if not path.exists() or path.read_bytes() != data:
            path.write_bytes(data)

    def _write_context(self, files: Mapping[str, Node]) -> None:
        """Make the context what it is to be; files that stay as they were are not touched."""
        files = _with_parents(files)
        old = self._written
        for path in sorted(
            old.keys() - {path for path in files if type(files[path]) is type(old.get(path))}, reverse=True
        ):
            where = os.path.join(self._context, path)
            if isinstance(old[path], Dir):
                shutil.rmtree(where, ignore_errors=True)
                for below in [one for one in old if one.startswith(f"{path}/")]:
                    del old[below]
            elif os.path.lexists(where):
                os.unlink(where)
            old.pop(path, None)
        _write_all(self._context, {path: node for path, node in files.items() if old.get(path) != node}, files)
        old.update(files)


def write_files(place: str, files: Mapping[str, Node]) -> None:
    """Write a context into an empty directory."""
    with_parents = _with_parents(files)
    _write_all(place, with_parents, with_parents)


def _with_parents(files: Mapping[str, Node]) -> dict[str, Node]:
    parents = {path[: end.start()] for path in files for end in re.finditer("/", path)}
    return {path: Dir() for path in parents} | dict(files)


def _write_all(place: str, new: Mapping[str, Node], files: Mapping[str, Node]) -> None:
    for path, node in sorted(new.items()):
        _write(os.path.join(place, path), node)
    for path, node in files.items():
        if isinstance(node, Dir):
            os.utime(os.path.join(place, path), (1_420_000_000, 1_420_000_000))


def _inside(path: str) -> Iterator[str]:
    for name in os.listdir(path):
        yield os.path.join(path, name)


def _write(path: str, node: Node) -> None:
    if isinstance(node, Dir):
        os.makedirs(path, exist_ok=True)
        os.chmod(path, node.mode)
        return
    if isinstance(node, Link):
        if os.path.lexists(path):
            os.unlink(path)
        os.symlink(node.target, path)
        return
    data = node.to_bytes() if isinstance(node, Tar) else node.data.encode("utf-8", "surrogateescape")
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, node.mode)
    if isinstance(node, File):
        if node.xattr:
            os.setxattr(path, "user.note", node.xattr.encode())
        elif os.listxattr(path):
            os.removexattr(path, "user.note")
    os.utime(path, (node.mtime, node.mtime))


def _arguments(what: Build) -> dict[str, str]:
    arguments = dict(what.args)
    if what.epoch is not None:
        arguments.setdefault("SOURCE_DATE_EPOCH", str(what.epoch))
    return arguments
