"""The runner of steps, with operations that only write a file, on a real store."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from buildah_py import meter
from buildah_py.cache import Cache, step_key
from buildah_py.cache.apart import IsolatedCache
from buildah_py.cache.records import ALL, CachePolicy
from buildah_py.engine import Engine, runner
from buildah_py.engine.containers import Cancellation
from buildah_py.engine.ops import Task, Usage
from buildah_py.engine.results import NOTHING
from buildah_py.engine.runner import StepRunner, Workplace
from buildah_py.engine.step_sharing import StepClaim, doing
from buildah_py.engine.worker import Reporter, Worker
from buildah_py.errors import Interrupted, LayersLost, NotFound, PybuildError, SourceChanged, StepFailed
from buildah_py.layers.writer import LayerWriter
from buildah_py.meter import Listening
from buildah_py.plan.graph import Input, Node
from buildah_py.plan.steps import BaseStep, MountStep, RunStep, WorkdirStep
from buildah_py.progress import events
from buildah_py.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from buildah_py.cache import Record
    from buildah_py.engine.ops import InputList
    from buildah_py.engine.results import Result
    from buildah_py.engine.runner import Observed
    from buildah_py.layers.inventory import Captured
    from buildah_py.plan.steps import Step


USED = Usage(1.5, 7)


def never(_: object) -> None:
    pytest.fail("it is a hit")


@dataclass
class Op:
    """Makes a layer of one file; `before` comes first, with the operation's parent."""

    digest: str = "sha256:in"
    content: Callable[[], bytes] = lambda: b"x"
    mtime: Callable[[], int] = lambda: 0
    before: Callable[[Result], object] = lambda _: None
    usage: Usage = USED
    learned: None = None
    parent: Result = NOTHING
    nears: list[str | None] = field(default_factory=list)

    def inputs(self) -> Mapping[str, str]:
        return {"input": self.digest}

    def lists(self) -> Mapping[str, InputList]:
        return {}

    def execute(self, staged: str, near: str | None) -> tuple[Captured, str]:
        self.nears.append(near)
        self.before(self.parent)
        fs = os.path.join(staged, "fs")
        os.mkdir(fs)
        with LayerWriter(fs, owners=False) as writer:
            writer.add_file("f", self.content(), mtime=self.mtime())
            captured = writer.finish()
        return captured, fs


class Build:
    """A build of the store at `root` whose operations are `ops`, by the paths of their WORKDIRs."""

    def __init__(self, root: Path, ops: Mapping[str, Op], policy: CachePolicy = ALL, *, apart: bool = False) -> None:
        self.ops = dict(ops)
        self.events: list[events.Event] = []
        self.observed: list[Observed] = []
        self.made: list[str] = []
        self.refreshed: list[int] = []
        self.expected: list[bool] = []
        self.store = Store(str(root))
        cancellation = Cancellation()
        self.cache = IsolatedCache(self.store) if apart else Cache(self.store, own=("file",), builds=("name",))
        pieces: dict[str, Any] = {
            "file_systems": None,
            "contexts": SimpleNamespace(refresh=lambda: self.refreshed.append(1)),
            "containers": SimpleNamespace(cancel=cancellation.set, expect=self._expect),
            "reach": None,
            "cache_directory": None,
        }
        self.hear: Callable[[events.Event], object] = lambda _: None
        reporter = Reporter(self._emit)
        self.worker = Worker(self.store, self.cache, reporter=reporter, cancellation=cancellation, **pieces)
        self.engine = Engine(self.worker, policy=policy, observe=self.observed.append, jobs=4)

    def make_op(self, node: Node, parent: Result) -> Op:
        assert isinstance(node.step, WorkdirStep)
        self.made.append(node.step.path)
        op = self.ops[node.step.path]
        op.parent = parent
        return op

    def _emit(self, event: events.Event) -> None:
        self.events.append(event)
        self.hear(event)

    def _expect(self, *, network: bool) -> None:
        self.expected.append(network)

    def run(
        self, nodes: Sequence[Node], use: Callable[[Mapping[int, Result]], object] = lambda _: None
    ) -> list[Result]:
        found: dict[int, Result] = {}

        def finish(results: Mapping[int, Result]) -> None:
            use(results)
            found.update(results)

        self.engine.run(nodes, {"s": len(nodes)}, finish)
        return [found[node.index] for node in nodes]

    def told(self) -> list[tuple[Any, ...]]:
        """The events, without the times that steps took."""
        return [
            (one.id, one.outcome, one.reason) if isinstance(one, events.StepDone) else (type(one).__name__, one[0])
            for one in self.events
        ]


@pytest.fixture
def builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Build]]:
    """Begin builds, one after the other, of one store."""
    begun: list[Build] = []

    def make_op(task: Task, **_: object) -> Op:
        return next(one for one in begun if one.worker is task.worker).make_op(task.node, task.parent)

    def begin(ops: Mapping[str, Op], policy: CachePolicy = ALL, *, apart: bool = False) -> Build:
        begun.append(Build(tmp_path / "store", ops, policy, apart=apart))
        return begun[-1]

    monkeypatch.setattr(runner, "make_op", make_op)
    yield begin
    for one in begun:
        one.store.close()


def chain(*paths: str) -> list[Node]:
    """WORKDIRs on scratch, each on the one before."""
    nodes = [node(0, BaseStep("scratch", ()), None)]
    for index, path in enumerate(paths, 1):
        nodes.append(node(index, WorkdirStep(path, ""), index - 1))
    return nodes


def node(index: int, step: Step, parent: int | None, inputs: tuple[Input, ...] = ()) -> Node:
    return Node(index, step, parent, inputs, "s", index + 1, f"text {index}", f"F:{index + 1}", f"shown {index}")


def test_a_build_and_the_next_one(builds: Callable[..., Build]) -> None:
    first = builds({"/a": Op(), "/b": Op(content=lambda: b"y")})
    made = first.run(chain("/a", "/b"))
    assert (first.engine.runner.hits, first.engine.runner.ran) == (0, 2)
    assert first.told() == [
        ("StepStarted", 1),
        (1, events.HIT, ""),
        ("StepStarted", 2),
        (2, events.RAN, "no record: first build"),
        ("StepStarted", 3),
        (3, events.RAN, "no record: first build"),
    ]
    done = first.events[3]
    assert isinstance(done, events.StepDone)
    assert (done.cpu, done.memory) == USED
    assert made[2].layers == (*made[1].layers, first.engine.runner.records[2].diff_id)
    second = builds({"/a": Op(before=never), "/b": Op(before=never)})
    assert second.run(chain("/a", "/b")) == made
    assert (second.engine.runner.hits, second.engine.runner.ran) == (2, 0)
    assert [one.outcome for one in second.observed] == [events.HIT] * 2
    assert [one.record.key for one in second.observed] == [second.engine.runner.records[index].key for index in (1, 2)]


class Fetching(Op):
    """Fetches something before it is known what its key is."""

    def inputs(self) -> Mapping[str, str]:
        with meter.start("downloading", waits=True):
            return super().inputs()


def test_a_step_is_shown_before_its_look_up_waits_for_others(builds: Callable[..., Build]) -> None:
    builds({"/a": Op(), "/b": Op()}).run(chain("/a", "/b"))
    build = builds({"/a": Fetching(), "/b": Fetching("sha256:other")})
    build.run(chain("/a", "/b"))
    moved = [("Moved", 2)] * 2
    assert build.told()[2:6] == [("StepStarted", 2), *moved, (2, events.HIT, "")]
    assert build.told()[6:9] == [("StepStarted", 3), ("Moved", 3), ("Moved", 3)]
    assert [one for one in build.told()[9:] if one[0] == "StepStarted"] == []
    assert build.told()[-1][:2] == (3, events.RAN)


def test_a_step_that_was_shown_and_is_not_executed_is_cancelled(builds: Callable[..., Build]) -> None:
    build = builds({"/a": Fetching("sha256:new")})
    nodes, steps = chain("/a"), StepRunner((Workplace(build.worker),))
    steps.begin(nodes, {"s": len(nodes)})
    base = steps.look_up(nodes[0], {})
    assert base is not None
    assert steps.look_up(nodes[1], {0: base}) is None
    steps.cancel()
    steps.cancel()
    assert build.told()[-1] == (2, events.CANCELLED, "")
    assert build.told().count((2, events.CANCELLED, "")) == 1


def test_time_that_goes_into_pulling_is_not_the_steps(
    builds: Callable[..., Build], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pull(_: Result) -> None:
        with meter.start("pulling", apart=True):
            pass

    times = iter(range(0, -10_000, -1000))  # so that what is left out makes the rest longer
    monkeypatch.setattr(runner, "Listening", partial(Listening, clock=lambda: next(times)))
    build = builds({"/a": Op(before=pull)})
    build.run(chain("/a"))
    done = build.events[-1]
    assert isinstance(done, events.StepDone)
    assert done.seconds > 999


def test_a_key_is_made_of_parent_step_and_inputs(builds: Callable[..., Build]) -> None:
    build = builds({"/a": Op("sha256:other")})
    build.run(chain("/a"))
    step = WorkdirStep("/a", "")
    assert build.engine.runner.records[1].key == step_key(NOTHING.chain, step.canonical(), {"input": "sha256:other"})
    assert build.observed[0].ingredients.inputs == {"input": "sha256:other"}


def test_a_step_that_makes_the_same_again_lets_later_ones_hit(builds: Callable[..., Build]) -> None:
    first = builds({"/a": Op("sha256:1"), "/b": Op()})
    first.run(chain("/a", "/b"))
    op = Op("sha256:2")
    second = builds({"/a": op, "/b": Op(before=never)})
    second.run(chain("/a", "/b"))
    assert (second.engine.runner.hits, second.engine.runner.ran) == (1, 1)
    done = [one for one in second.events if isinstance(one, events.StepDone)][1]
    assert done.same
    assert done.reason.endswith("; same content as before: later steps can hit")
    assert op.nears == [first.engine.runner.records[1].diff_id]


def test_an_equivalent_older_result_stays(builds: Callable[..., Build]) -> None:
    """Equal but for times that are not content."""
    times = iter([10**9, 2 * 10**9, 3 * 10**9])
    op = Op(mtime=lambda: next(times))

    def stamped(staged: str, near: str | None) -> tuple[Captured, str]:
        from buildah_py.layers.stamps import window

        captured, fs = Op.execute(op, staged, near)
        return captured._replace(stamps=window(0, 10**10, 10**10)), fs

    op.execute = stamped  # type: ignore[method-assign]
    first = builds({"/a": op})
    [_, old] = first.run(chain("/a"))
    second = builds({"/a": op}, CachePolicy(no_cache=True))
    [_, again] = second.run(chain("/a"))
    assert (second.engine.runner.ran, again) == (1, old)
    assert len(os.listdir(second.store.path("layers"))) == 1, "the other one is not kept"
    assert [
        os.listdir(staged.path) for staged in os.scandir(second.store.path("staging", second.store.lease.name))
    ] == [[]]
    apart = builds({"/a": op}, CachePolicy(no_cache=True), apart=True)
    [_, own] = apart.run(chain("/a"))
    assert own.chain == old.chain
    assert own.layers != old.layers


def test_a_result_is_as_old_as_the_first_one_also_within_a_second(builds: Callable[..., Build]) -> None:
    """Else two builds of one second would give other images than two builds of different seconds."""
    first = builds({"/a": Op("sha256:1")})
    first.run(chain("/a"))
    second = builds({"/a": Op("sha256:2")})
    second.run(chain("/a"))
    before, after = (build.engine.runner.records[1] for build in (first, second))
    assert after.key != before.key
    assert (after.diff_id, after.created) == (before.diff_id, before.created)


@pytest.mark.parametrize(
    ("policy", "ran"),
    [
        (CachePolicy(no_cache=True), 1),
        (CachePolicy(stages=frozenset({"s"})), 1),
        (CachePolicy(stages=frozenset({"other"})), 0),
        (CachePolicy(ttl=0), 1),
        (CachePolicy(ttl=10**18), 0),
    ],
)
def test_records_that_do_not_count(builds: Callable[..., Build], policy: CachePolicy, ran: int) -> None:
    builds({"/a": Op()}).run(chain("/a"))
    build = builds({"/a": Op()}, policy)
    build.run(chain("/a"))
    assert (build.engine.runner.hits, build.engine.runner.ran) == (1 - ran, ran)


def test_a_step_that_another_one_makes_meanwhile_is_done_once(builds: Callable[..., Build]) -> None:
    """Two nodes of one key: the second waits for the first, and hits."""
    times: list[int] = []

    def before(_: Result) -> None:
        times.append(1)
        assert waits.wait(20)

    build = builds({"/a": Op(before=before)}, CachePolicy(no_cache=True))
    waits = threading.Event()
    build.hear = lambda event: waits.set() if isinstance(event, events.Note) else None
    nodes = [node(0, BaseStep("scratch", ()), None), *(node(one, WorkdirStep("/a", ""), 0) for one in (1, 2))]
    [_, one, other] = build.run(nodes)
    assert (one, times) == (other, [1])
    assert (build.engine.runner.hits, build.engine.runner.ran) == (1, 1)


@pytest.mark.parametrize(
    ("error", "message", "told"),
    [
        (PybuildError("is wrong"), "F:2: is wrong", "F:2: is wrong"),
        (StepFailed("F:2: ended\n  RUN x", 3), "F:2: ended\n  RUN x", "F:2: ended"),
        (OSError(errno.EIO, "Input/output error", "x"), "F:2: x: Input/output error", None),
    ],
)
def test_a_step_that_fails_names_its_place(
    builds: Callable[..., Build], error: Exception, message: str, told: str | None
) -> None:
    def before(_: Result) -> None:
        raise error

    build = builds({"/a": Op(before=before)})
    with pytest.raises(PybuildError) as caught:
        build.run(chain("/a"))
    assert caught.value.message == message
    assert build.told()[-1] == (2, events.FAILED, told or message)
    assert build.worker.cancellation.is_set()


def test_a_fault_of_ours_is_told_and_raised_as_it_is(builds: Callable[..., Build]) -> None:
    def before(_: Result) -> None:
        raise ZeroDivisionError("by zero")

    build = builds({"/a": Op(before=before)})
    with pytest.raises(ZeroDivisionError):
        build.run(chain("/a"))
    assert build.told()[-1] == (2, events.FAILED, "by zero")


def test_what_is_cancelled_is_not_kept(builds: Callable[..., Build]) -> None:
    build = builds({"/a": Op()})
    build.ops["/a"].before = lambda _: build.worker.cancellation.set()
    with pytest.raises(Interrupted):
        build.run(chain("/a"))
    assert build.told()[-1] == (2, events.CANCELLED, "")
    assert build.engine.runner.records == {}
    later = builds({"/a": Op()})
    later.run(chain("/a"))
    assert later.engine.runner.ran == 1


def test_layers_of_a_base_that_are_missing(builds: Callable[..., Build]) -> None:
    build = builds({})
    with pytest.raises(NotFound, match="layers of the base image b are missing"):
        build.run([node(0, BaseStep("b", ("sha256:" + "0" * 64,)), None)])
    assert build.told()[-1][:2] == (1, events.FAILED)


@pytest.mark.parametrize(("times", "fails"), [(2, False), (3, True)])
def test_sources_that_change_while_they_are_read(builds: Callable[..., Build], times: int, fails: bool) -> None:
    left = [SourceChanged("f changed")] * times

    def before(_: Result) -> None:
        if left:
            raise left.pop()

    build = builds({"/a": Op(before=before)})
    if fails:
        with pytest.raises(SourceChanged, match="F:2: f changed"):
            build.run(chain("/a"))
    else:
        build.run(chain("/a"))
        assert build.engine.runner.ran == 1
    assert ("Note", "f changed; reading it again") in build.told()
    assert (len(build.refreshed), len(build.made)) == (2, 3), "the operation is made anew each time"


def test_lost_layers_are_made_again_and_what_stands_on_them_hits(builds: Callable[..., Build]) -> None:
    builds({"/a": Op(), "/b": Op(content=lambda: b"y")}).run(chain("/a", "/b"))
    build = builds({"/a": Op(), "/b": Op(before=never)})
    lost: list[str] = []

    def use(results: Mapping[int, Result]) -> None:
        if not lost:
            lost.extend(results[1].layers)
            raise LayersLost("layers are lost", lost)

    build.run(chain("/a", "/b"), use)
    assert (build.engine.runner.hits, build.engine.runner.ran) == (1, 1)
    assert ("Warning", "layers are lost: what led to it is executed here") in build.told()


def test_lost_layers_that_are_of_no_step(builds: Callable[..., Build]) -> None:
    """Nothing is executed again where that would not bring all of them back."""
    build = builds({"/a": Op()})
    error = LayersLost("layers are lost", [])

    def use(results: Mapping[int, Result]) -> None:
        error.diff_ids = ("sha256:x", *results[1].layers)
        raise error

    with pytest.raises(LayersLost) as caught:
        build.run(chain("/a"), use)
    assert caught.value is error
    assert not [one for one in build.events if isinstance(one, events.Warning)]
    assert build.engine.runner.ran == 1


def test_a_step_that_finds_lost_what_it_stands_on(builds: Callable[..., Build]) -> None:
    builds({"/a": Op()}).run(chain("/a"))
    times: list[int] = []

    def before(parent: Result) -> None:
        times.append(1)
        if len(times) == 1:
            raise LayersLost("layers are lost", parent.layers)

    build = builds({"/a": Op(), "/b": Op(content=lambda: b"y", before=before)})
    build.run(chain("/a", "/b"))
    assert (build.engine.runner.hits, build.engine.runner.ran) == (0, 2), "the hit was none"
    assert sorted(build.engine.runner.records) == [1, 2]


def test_only_steps_with_commands_have_containers_prepared(builds: Callable[..., Build]) -> None:
    from tests.plan.test_planner import plan

    build = builds({})
    steps = StepRunner((Workplace(build.worker),))
    steps.expect(chain("/a"))
    assert build.expected == []
    steps.expect(plan("FROM base\nRUN --network=none x\n").nodes)
    steps.expect(plan("FROM base\nRUN --network=none x\nRUN y\n").nodes)
    assert build.expected == [False, True]


def test_hits_are_noted_where_they_were_met(builds: Callable[..., Build]) -> None:
    """A build that only hits leaves behind what later ones are compared with, unless that is there already."""
    builds({"/a": Op(), "/b": Op()}).run(chain("/a", "/b"))
    build = builds({"/a": Op(), "/b": Op()})
    noted: list[list[tuple[str, str]]] = []
    cast("Any", build.cache).touch = lambda met: noted.append([(key, kind) for key, _, kind in met])
    cast("Any", build.cache).were_met = lambda keys: bool(noted) or not keys
    build.run(chain("/a"))
    records = build.engine.runner.records
    assert noted == [[(records[1].key, "workdir")]]
    build.run(chain("/a", "/b"))
    assert len(noted) == 1
    cast("Any", build.cache).were_met = lambda _: False
    build.run(chain("/a", "/b"))
    assert len(noted) == 1, "nothing was met since"


# shared work


class Shared:
    """Work that is shared with others: `begin` says what becomes of a step, and the rest is noted."""

    def __init__(self, begin: Callable[[], object] = lambda: False) -> None:
        self.begun: list[tuple[str, StepClaim]] = []
        self.ended: list[tuple[str, str, bool]] = []
        self._begin = begin

    def begin(self, key: str, doing: StepClaim) -> Any:
        self.begun.append((key, doing))
        return self._begin()

    def done(self, key: str, record: Record, *, anew: bool = False) -> None:
        assert record.key == key
        self.ended.append(("done", key, anew))

    def failed(self, key: str) -> None:
        self.ended.append(("failed", key, False))


def sharing(build: Build, shared: Shared, policy: CachePolicy = ALL) -> Build:
    build.worker = build.worker._replace(work=shared)
    build.engine = Engine(build.worker, policy=policy, jobs=1)
    return build


def test_what_is_shared_is_claimed_first_and_handed_on_then(builds: Callable[..., Build]) -> None:
    shared = Shared()
    order: list[int] = []
    build = sharing(builds({"/a": Op(before=lambda _: order.append(len(shared.begun)))}), shared)
    build.run(chain("/a"))
    assert order == [1]
    ((key, claim),) = shared.begun
    assert shared.ended == [("done", key, False)]
    assert (claim.id, claim.text, claim.quick) == (2, "shown 1", True)
    again = sharing(builds({"/a": Op(before=never)}), shared := Shared())
    again.run(chain("/a"))
    assert (shared.begun, shared.ended) == ([], []), "a hit is nobody's business"


def test_a_step_that_fails_is_left_to_others(builds: Callable[..., Build]) -> None:
    def fail(_: object) -> None:
        raise StepFailed("no", status=1)

    shared = Shared()
    with pytest.raises(StepFailed):
        sharing(builds({"/a": Op(before=fail)}), shared).run(chain("/a"))
    assert [what for what, _, _ in shared.ended] == ["failed"]


def test_a_step_that_another_builder_is_at_is_tried_again_and_is_a_hit_then(builds: Callable[..., Build]) -> None:
    calls: list[Callable[[], object]] = []

    def begin() -> object:
        if calls:
            return True

        def when(call: Callable[[], object]) -> None:
            calls.append(call)
            other.run(chain("/a"))
            call()

        return when

    other, shared = builds({"/a": Op()}), Shared(begin)
    build = sharing(builds({"/a": Op(before=never)}), shared)
    build.run(chain("/a"))
    assert len(calls) == 1
    assert shared.ended == []
    assert build.told()[-1] == (2, events.HIT, "")
    assert [one for one in build.told() if one[0] == "StepStarted"] == [("StepStarted", 1), ("StepStarted", 2)]


def test_a_result_of_others_that_cannot_be_used_is_made_here(builds: Callable[..., Build]) -> None:
    shared = Shared(lambda: True)
    build = sharing(builds({"/a": Op()}), shared)
    build.run(chain("/a"))
    assert [what for what, _, _ in shared.ended] == ["done"]
    assert build.engine.runner.ran == 1


def test_without_the_cache_nothing_is_claimed_and_results_are_replaced(builds: Callable[..., Build]) -> None:
    shared, policy = Shared(), CachePolicy(no_cache=True)
    sharing(builds({"/a": Op()}, policy), shared, policy).run(chain("/a"))
    assert shared.begun == []
    assert [(what, anew) for what, _, anew in shared.ended] == [("done", True)]


def test_a_command_is_claimed_with_the_mounts_that_it_needs_for_itself() -> None:
    def mounts(*texts: str) -> StepClaim:
        found = tuple(
            MountStep(kind, f"/{name}", id=name, sharing=sharing)
            for kind, name, sharing in (text.split() for text in texts)
        )
        return doing(node(0, RunStep(("x",), (), "/", "", "none", "sandbox", "linux/amd64", mounts=found), None))

    assert mounts() == StepClaim(1, "shown 0")
    claim = mounts("cache b locked", "cache a locked", "cache c shared", "cache d private")
    assert claim.mounts == ("a", "b")
    assert not claim.private
    assert mounts("secret token x").private
