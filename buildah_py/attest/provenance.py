"""Provenance: how an image was built, as a predicate of SLSA (slsa.dev/spec/v1.0/provenance, and v0.2 before that).

The parameters and the extensions of `metadata` are those of BuildKit's definitions, so that what reads its provenance
reads this: docs/attestations.md has the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py.frozen import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MIN: Final = "min"
MAX: Final = "max"
V1: Final = "https://slsa.dev/provenance/v1"
V02: Final = "https://slsa.dev/provenance/v0.2"
_BUILD_TYPE: Final = "urn:pybuild:buildfile:v1"
_FRONT_END: Final = "dockerfile.v0"
_EXTENSION: Final = "https://mobyproject.org/buildkit@v1"


class Material(NamedTuple):
    """Something that a build took from elsewhere: its URI, and its digests by algorithm.

    `note` says what the digest is of where that is not the content behind the URI.
    """

    uri: str
    digest: Mapping[str, str]
    note: str = ""

    def old(self) -> dict[str, Any]:
        """Return it as v0.2 has it."""
        return {"uri": self.uri, "digest": dict(self.digest)}

    def new(self) -> dict[str, Any]:
        """Return it as v1 has it."""
        return {**self.old(), **({"annotations": {"digest": self.note}} if self.note else {})}


class Parameters(NamedTuple):
    """Parameters of a build beside the build file: what `--build-arg` and the like say, ids of secrets and agents."""

    arguments: Mapping[str, str]
    secrets: Sequence[str] = ()
    agents: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFacts:
    """Facts about one build of one image. Times are RFC 3339.

    `file` is the build file's path in its context, `origin` where that context came from, None for a directory of this
    machine. `steps` are described with what they led to; `source` is the build file's text. `isolated` says that no
    command had a network, `vcs` what is known of the repository that a local context is in.
    """

    id: str
    version: str
    started: str
    finished: str
    platform: str
    file: str
    origin: Material | None
    parameters: Parameters
    materials: Sequence[Material]
    steps: Sequence[Mapping[str, Any]]
    source: str
    isolated: bool
    local: bool
    vcs: Mapping[str, str] = field(default_factory=dict)


class ProvenanceForm(NamedTuple):
    """How much is told (MIN or MAX), in which version of the predicate, and who is said to have built."""

    mode: str = MIN
    type: str = V1
    builder: str = ""
    reproducible: bool = False


def predicate(facts: BuildFacts, form: ProvenanceForm) -> dict[str, Any]:
    """Return the body of the predicate. With MIN no values of arguments, no ids, no steps and no source are told."""
    return _v1(facts, form) if form.type == V1 else _v02(facts, form)


def _v1(facts: BuildFacts, form: ProvenanceForm) -> dict[str, Any]:
    source: dict[str, Any] = {"path": facts.file}
    if facts.origin is not None:
        source |= facts.origin.old()
    internal: dict[str, Any] = {"builderPlatform": facts.platform}
    if form.mode == MAX:
        internal["buildConfig"] = {"steps": list(facts.steps)}
    return {
        "buildDefinition": {
            "buildType": _BUILD_TYPE,
            "externalParameters": {"configSource": source, "request": _request(facts, form)},
            "internalParameters": internal,
            "resolvedDependencies": [one.new() for one in facts.materials],
        },
        "runDetails": {
            "builder": {"id": form.builder, "version": {"pybuild": facts.version}},
            "metadata": {
                "invocationId": facts.id,
                "startedOn": facts.started,
                "finishedOn": facts.finished,
                "buildkit_hermetic": _is_hermetic(facts),
                "buildkit_completeness": {
                    "request": form.mode == MAX,
                    "resolvedDependencies": _is_complete(facts),
                },
                "buildkit_reproducible": form.reproducible,
                **_metadata(facts, form, "buildkit_metadata"),
            },
        },
    }


def _v02(facts: BuildFacts, form: ProvenanceForm) -> dict[str, Any]:
    source: dict[str, Any] = {} if facts.origin is None else facts.origin.old()
    return {
        "builder": {"id": form.builder},
        "buildType": _BUILD_TYPE,
        "materials": [one.old() for one in facts.materials],
        "invocation": {
            "configSource": {**source, "entryPoint": facts.file},
            "parameters": _request(facts, form),
            "environment": {"platform": facts.platform},
        },
        **({"buildConfig": {"steps": list(facts.steps)}} if form.mode == MAX else {}),
        "metadata": {
            "buildInvocationID": facts.id,
            "buildStartedOn": facts.started,
            "buildFinishedOn": facts.finished,
            "completeness": {
                "parameters": form.mode == MAX,
                "environment": True,
                "materials": _is_complete(facts),
            },
            "reproducible": form.reproducible,
            f"{_EXTENSION}#hermetic": _is_hermetic(facts),
            **_metadata(facts, form, f"{_EXTENSION}#metadata"),
        },
    }


def _request(facts: BuildFacts, form: ProvenanceForm) -> dict[str, Any]:
    request: dict[str, Any] = {"frontend": _FRONT_END}
    if form.mode == MAX:
        given = facts.parameters
        request["args"] = dict(sorted(given.arguments.items()))
        if given.secrets:
            request["secrets"] = [{"id": one} for one in given.secrets]
        if given.agents:
            request["ssh"] = [{"id": one} for one in given.agents]
    if facts.local:
        request["locals"] = [{"name": "context"}, {"name": "dockerfile"}]
    return request


def _metadata(facts: BuildFacts, form: ProvenanceForm, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if facts.vcs:
        found["vcs"] = dict(facts.vcs)
    if form.mode == MAX:
        import base64

        data = base64.b64encode(facts.source.encode("utf-8", "surrogateescape")).decode("ascii")
        found["source"] = {"infos": [{"filename": facts.file, "language": "Dockerfile", "data": data}]}
    return {name: found} if found else {}


def _is_hermetic(facts: BuildFacts) -> bool:
    return facts.isolated


def _is_complete(facts: BuildFacts) -> bool:
    """Whether all is named that the build took: a directory of this machine, and what commands fetch, is not."""
    return facts.isolated and not facts.local
