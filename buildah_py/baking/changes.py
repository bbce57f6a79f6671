"""Changes of a bake since a commit: targets compared by what the keys of their steps are made of."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from buildah_py.baking.opening import opened_together
from buildah_py.engine.dry_run import DryRun, LayersStay
from buildah_py.errors import NotFound
from buildah_py.frozen import replace
from buildah_py.plan import NeedsValue
from buildah_py.plan.planner import plan_together

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from buildah_py.baking.opening import BakeItem
    from buildah_py.engine.dry_run import DryStep


@contextmanager
def tree_of(ref: str) -> Iterator[str]:
    """Give a directory that holds what the working directory's repository held in a commit, at the same place in it.

    Raises NotFound where there is no such commit, or no repository.
    """
    commit = _git("rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}").decode().strip()
    prefix = os.fsdecode(_git("rev-parse", "--show-prefix")).strip("\n")
    top = os.fsdecode(_git("rev-parse", "--show-toplevel")).strip("\n")
    with tempfile.TemporaryDirectory(prefix="pybuild-") as directory:
        tree = os.path.join(directory, "tree")
        # Files come as a checkout has them, through the filters of the repository.
        index = {**os.environ, "GIT_INDEX_FILE": os.path.join(directory, "index")}
        _git("-C", top, "read-tree", commit, environ=index)
        _git("-C", top, "checkout-index", "--all", f"--prefix={tree}/", environ=index)
        yield os.path.join(tree, prefix)


def _git(*arguments: str, environ: Mapping[str, str] | None = None) -> bytes:
    import subprocess

    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=False, env=environ)
    except FileNotFoundError as error:
        raise NotFound("--changed-since needs git", hint="install git") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["git failed"]
        raise NotFound(
            f"--changed-since: git says: {said[-1]}", hint="name a commit, branch or tag of this directory's repository"
        )
    return done.stdout


def changed_since(items: Sequence[BakeItem], before: Sequence[BakeItem]) -> list[str]:
    """Return the names of exported targets that are not what they were.

    A target is what it was where its build file, the files that its steps read, its base images and options give the
    same keys, and where the image's config, its names and its outputs are the same. What only an execution could tell
    counts as changed.
    """
    now = _digests(items)
    then = _digests(before) if before else {}
    return [
        item.name for item in items if item.exported and (not now[item.name] or now[item.name] != then.get(item.name))
    ]


def _digests(items: Sequence[BakeItem]) -> dict[str, str]:
    """Give a digest of each target; "" for one that is not known before something has been executed."""
    # Modes are those that git keeps: a checkout has others by the umask alone.
    items = [
        item._replace(request=replace(item.request, sources=replace(item.request.sources, modes="git")))
        for item in items
    ]
    with ExitStack() as stack:
        builds = opened_together(items, lambda _: None, stack, provider=LayersStay())
        pairs = [(build.session.build_file, options) for build in builds for options in build.options]
        plans = plan_together(pairs)
        if isinstance(plans, NeedsValue):
            return dict.fromkeys((item.name for item in items), "")
        dry_run = DryRun(builds[0].session.worker, lambda *_: None)
        nodes: list[str] = []
        for step in dry_run.look(plans[0].nodes):
            nodes.append(_node(step, nodes))
        found: dict[str, str] = {}
        plans_left = iter(plans)
        for build in builds:
            own = [next(plans_left) for _ in build.options]
            made = [[plan.platform, nodes[plan.target], plan.config.to_dict()] for plan in own]
            outputs = build.request.outputs
            found[build.item.name] = _digest(
                [made, build.names, outputs.specs, outputs.annotations, repr(outputs.shape)]
            )
        return found


def _node(step: DryStep, before: Sequence[str]) -> str:
    """Digest all that a step's key is made of, with digests of the steps that it needs in place of their results."""
    node = step.node
    needed = [None if one.node is None else before[one.node] for one in node.inputs]
    parent = None if node.parent is None else before[node.parent]
    inputs = step.ingredients.inputs if step.ingredients is not None else {}
    # The digest of what another step makes is not known without it; the step's own digest stands for that.
    return _digest([node.step.canonical(), parent, needed, inputs])


def _digest(data: object) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()
