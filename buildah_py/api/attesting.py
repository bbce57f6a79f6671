"""Provenance of images: what a build attests of how they were built."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING, Any, Final

from buildah_py import debug
from buildah_py.attest.provenance import V02, V1, BuildFacts, Material, Parameters, ProvenanceForm, predicate
from buildah_py.buildfile.variables import PROXY_NAMES
from buildah_py.image import platform as platforms
from buildah_py.image import reference as references
from buildah_py.image import timestamp
from buildah_py.image.digest import split
from buildah_py.image.purl import docker_purl
from buildah_py.outputs.attestation import Predicate, clean
from buildah_py.plan.steps import BaseStep, CaptureStep, RunStep
from buildah_py.sources.policy import LAYOUT
from buildah_py.sources.urls import redact, without_credentials
from buildah_py.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.api.opening import BuildSession
    from buildah_py.api.request import BuildRequest
    from buildah_py.attest.options import ProvenanceOptions
    from buildah_py.cache import Record
    from buildah_py.plan import Plan

_TYPES: Final = {"v1": V1, "v0.2": V02}
_GIT_SECONDS: Final = 5
_SHA1: Final = 40


def provenance(
    options: ProvenanceOptions,
    request: BuildRequest,
    session: BuildSession,
    plan: Plan,
    records: Mapping[int, Record],
    build: str,
    started: float,
) -> Predicate:
    """Say how the image of a plan was built: by the build of that id, which began at `started` (seconds since 1970)."""
    needed = plan.needed()
    nodes = [node for node in plan.nodes if node.index in needed]
    runs = [step for node in nodes if (step := _run_of(node.step)) is not None]
    main = session.main
    local = (not main.remote and main.lasting is not None) or any(
        one.kind == "directory" for one in session.named.values()
    )
    facts = BuildFacts(
        id=build,
        version=__version__,
        started=timestamp.to_text(int(started) * 1_000_000_000),
        finished=timestamp.to_text(int(time.time()) * 1_000_000_000),
        platform=str(platforms.host()),
        file=_file(session),
        origin=_origin(session),
        parameters=_parameters(request, session),
        materials=_materials(session, plan, needed),
        steps=[_step(plan, index, records, _file(session)) for index in sorted(needed)],
        source=redact(session.build_file.source.text),
        isolated=all(run.network == "none" for run in runs),
        local=local,
        vcs=_repository(main.directory, request.environ) if local and not main.remote else {},
    )
    form = ProvenanceForm(options.mode, _TYPES[options.version], options.builder_id, options.reproducible)
    return Predicate(form.type, clean(predicate(facts, form)), options.filename, options.inline_only)


def _run_of(step: object) -> RunStep | None:
    step = step.run if isinstance(step, CaptureStep) else step
    return step if isinstance(step, RunStep) else None


def _file(session: BuildSession) -> str:
    """Return the build file's path in its context, or its name where it is not in there."""
    path, directory = session.main.build_file.path, os.path.realpath(session.main.directory)
    if path and os.path.realpath(path).startswith(f"{directory}/"):
        return os.path.relpath(os.path.realpath(path), directory)
    return os.path.basename(session.build_file.source.name) or session.build_file.source.name


def _origin(session: BuildSession) -> Material | None:
    """Return where the main context came from, None for this machine."""
    lasting = session.main.lasting
    if not session.main.remote or lasting is None or "://" not in lasting:
        return None
    for url, digest in session.used.items():
        known = without_credentials(url)
        if known.partition("#")[0].partition("?")[0] == lasting.partition("#")[0].partition("?")[0]:
            return Material(known, _digest(digest))
    return None


def _parameters(request: BuildRequest, session: BuildSession) -> Parameters:
    given = {
        f"build-arg:{name}": redact(value)
        for name, value in session.settled.build_args.items()
        if name not in PROXY_NAMES
    }
    given |= {f"label:{name}": value for name, value in request.labels.items()}
    given |= {f"env:{name}": redact(value) for name, value in request.env.items()}
    given |= {f"context:{one.name}": _place(one.location) for one in session.named.values()}
    plain = {
        "target": request.target,
        "platform": request.platform,
        "force-network-mode": "" if request.network == "default" else request.network,
    }
    given |= {name: value for name, value in plain.items() if value}
    if request.reuse.no_cache:
        given["no-cache"] = ""
    secrets: list[str] = []
    if request.secrets:
        from buildah_py.sources.secrets import parse_secrets

        secrets = sorted(parse_secrets(request.secrets, request.environ))
    return Parameters(given, secrets, sorted(one.partition("=")[0] for one in request.ssh))


def _place(location: str) -> str:
    """Say where a context lies, but not in which directory of this machine."""
    return without_credentials(location) if "://" in location else os.path.basename(location) or location


def _materials(session: BuildSession, plan: Plan, needed: frozenset[int]) -> list[Material]:
    images = {
        node.step.image: node.step.name
        for node in plan.nodes
        if node.index in needed and isinstance(node.step, BaseStep) and node.step.image
    }
    asked = {(name, config.digest()): platform for (name, platform), config in plan.bases.items()}
    found = [_image(session, name, image, asked.get((name, image), plan.platform)) for image, name in images.items()]
    found += (Material(without_credentials(url), _digest(digest)) for url, digest in sorted(session.used.items()))
    return sorted(found, key=lambda one: one.uri)


def _image(session: BuildSession, name: str, image: str, platform: str) -> Material:
    """Describe a base image by the digest of its manifest, where a registry gave it; else by its id."""
    name = session.images.allowed(name)
    if name.startswith(LAYOUT):
        return Material(f"oci-layout:{os.path.basename(name)}", _digest(image), "of the image's config")
    if references.is_image_id(name):
        return Material(f"urn:image:{image}", _digest(image), "of the image's config")
    reference = references.parse(name).with_default_tag()
    uri = docker_purl(reference, platforms.parse(platform))
    if reference.digest:
        return Material(uri, _digest(reference.digest))
    known = [one for one in session.worker.store.images.repo_digests(image) if one.name == reference.name]
    for one in sorted(known, key=lambda one: one.is_index):
        return Material(uri, _digest(one.digest))
    return Material(uri, _digest(image), "of the image's config: the image came from no registry")


def _digest(text: str) -> dict[str, str]:
    """Return a digest, or the id of a commit, by its algorithm."""
    if ":" not in text:
        return {"sha1" if len(text) == _SHA1 else "sha256": text}
    algorithm, value = split(text)
    return {algorithm: value}


def _step(plan: Plan, index: int, records: Mapping[int, Record], file: str) -> dict[str, Any]:
    """Describe a step of a build file: what it does, on what, and what it made."""
    node = plan.nodes[index]
    place, _, line = node.place.rpartition(":")
    described: dict[str, Any] = {
        "id": f"step{index + 1}",
        "instruction": node.text,
        "line": f"{file if place.endswith(file) else os.path.basename(place)}:{line}",
        "operation": node.step.canonical(),
        "inputs": [f"step{one + 1}" for one in node.needs],
    }
    if node.label:
        described["stage"] = node.label
    if isinstance(node.step, BaseStep):
        described["image"] = node.step.image
    elif index in records:
        record = records[index]
        described |= {"key": record.key, "layer": record.diff_id, "content": record.content}
        if record.inputs:
            described["files"] = dict(record.inputs)
    return described


def _repository(directory: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return URL and commit of the repository that a directory is in; nothing where git tells none.

    Only what is written down there is asked for: nothing of the repository is run, and files are not compared.
    """

    def ask(*words: str) -> str:
        command = ["git", "-C", directory, "-c", "core.fsmonitor=false", *words]
        asked = {**environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, timeout=_GIT_SECONDS, env=asked, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.SubprocessError) as error:
            debug.log("git does not tell of %s: %s", directory, error)
            return ""
        return done.stdout.decode("utf-8", "replace").strip() if not done.returncode else ""

    commit = ask("rev-parse", "HEAD")
    if not commit:
        return {}
    source = without_credentials(ask("config", "--get", "remote.origin.url"))
    return {**({"source": source} if source else {}), "revision": commit}
