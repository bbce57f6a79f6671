"""Which files make a bake definition, and in which of the forms each of them is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from buildah_py.bake.compose import ComposeFiles
from buildah_py.bake.definition import Definition, Evaluated
from buildah_py.bake.interpolation import read_dotenv
from buildah_py.bake.parser import parse
from buildah_py.bake.structured import Members, read_json, read_yaml, yaml_node
from buildah_py.bake.values import ValueFault
from buildah_py.errors import BuildFileError, NotFound, UsageError
from buildah_py.source_text import Source, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.bake.syntax import HclBody, Location
    from buildah_py.bake.targets import Target, TargetGroup

BakeForm = Literal["hcl", "json", "yaml", "compose"]
STDIN: Final = "-"
OWN_FILE: Final = "pybuild-bake.yaml"
LOOKED_FOR: Final = (
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "docker-bake.json",
    "docker-bake.hcl",
    OWN_FILE,
    "docker-bake.override.json",
    "docker-bake.override.hcl",
)
"""Files that are read, each if it is there, where none is named; later ones come over earlier ones."""

_OWN_KEYS: Final = ("targets", "groups", "variables", "functions")


class Inputs(NamedTuple):
    """Surroundings that files are evaluated with.

    `variables` are those of the command line, `builtins` those that are always there. `dotenv` is the text of the file
    `.env`, "" where there is none. `read` reads a further file by its path, for one that stands in a place.
    """

    environ: Mapping[str, str]
    variables: Mapping[str, str]
    builtins: Mapping[str, str]
    dotenv: str
    read: Callable[[str], Source]


def find_files(directory: str) -> list[str]:
    """Return the names of the files that are read where none is named. Raises NotFound."""
    found = [name for name in LOOKED_FOR if os.path.isfile(os.path.join(directory, name))]
    if not found:
        shown = "this directory" if directory in (".", "") else directory
        raise NotFound(f"there is no bake file in {shown}", hint=f"name one with -f, or make {LOOKED_FOR[5]}")
    return found


def read_file(path: str, shown: str = "") -> Source:
    """Read a file. Raises NotFound."""
    try:
        with open(path, "rb") as file:
            return Source(shown or path, decode(file.read()))
    except OSError as error:
        raise NotFound(f"the bake file {shown or path} cannot be read: {error.strerror}") from error


def form_of(source: Source) -> BakeForm:
    """Tell the form of a file by its name, or by what it says."""
    extension = os.path.splitext(source.name)[1].lower()
    if extension == ".hcl":
        return "hcl"
    if extension == ".json":
        return "json"
    if extension in (".yaml", ".yml"):
        return "yaml" if _is_own(source) else "compose"
    if source.text.lstrip().startswith("{"):
        return "json"
    try:
        node = yaml_node(source)
    except BuildFileError:
        return "hcl"
    if not isinstance(node.value, Members):
        return "hcl"
    keys = {member.key.value for member in node.value.items}
    return "compose" if "services" in keys else "yaml" if keys & set(_OWN_KEYS) else "hcl"


def _is_own(source: Source) -> bool:
    if os.path.basename(source.name) == OWN_FILE:
        return True
    node = yaml_node(source)
    keys = {member.key.value for member in node.value.items} if isinstance(node.value, Members) else set()
    return "services" not in keys and bool(keys & set(_OWN_KEYS))


def evaluate_files(sources: Sequence[Source], inputs: Inputs) -> Evaluated:
    """Read and evaluate files together. Raises BuildFileError at the first fault."""
    bodies: list[HclBody] = []
    compose: list[Source] = []
    for source in sources:
        form = form_of(source)
        if form == "compose":
            compose.append(source)
        else:
            bodies.append({"hcl": parse, "json": read_json, "yaml": read_yaml}[form](source))
    groups: dict[str, TargetGroup] = {}
    targets: dict[str, Target] = {}
    unknown = []
    if compose:
        files = ComposeFiles(_compose_environ(inputs), lambda path, place: _read_at(path, place, inputs))
        found_groups, found_targets = files.load(compose)
        groups = {group.name: group for group in found_groups}
        targets = {target.name: target for target in found_targets}
        unknown = files.unknown
    evaluated = Definition(bodies, inputs.environ, inputs.builtins, inputs.variables).evaluated()
    for name, target in evaluated.targets.items():
        targets[name] = targets[name].merged(target) if name in targets else target
    if not (targets or groups or compose or any(group.targets for group in evaluated.groups.values())):
        shown = ", ".join(source.name for source in sources)
        raise NotFound(f"there are no targets in {shown}", hint='declare one: target "default" { … }')
    return Evaluated(
        {**groups, **evaluated.groups},
        targets,
        evaluated.variables,
        tuple(dict.fromkeys([*unknown, *evaluated.unknown])),
    )


def _compose_environ(inputs: Inputs) -> dict[str, str]:
    """Give the variables of Compose files: those of `.env`, and before them the environment's."""
    if not inputs.dotenv:
        return dict(inputs.environ)
    try:
        return {**read_dotenv(inputs.dotenv, inputs.environ), **inputs.environ}
    except ValueFault as fault:
        raise UsageError(f".env: {fault.message}", hint=fault.hint) from None


def _read_at(path: str, place: Location, inputs: Inputs) -> Source:
    try:
        return inputs.read(path)
    except NotFound as error:
        raise place.error(error.message, error.hint) from error
