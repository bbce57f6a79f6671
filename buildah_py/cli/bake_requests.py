"""Requests of targets of a bake file, said as the command line of a build says it, and read as that."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py.bake.entries import text_of
from buildah_py.bake.resolving import CWD, TARGET
from buildah_py.bake.targets import ATTRIBUTES
from buildah_py.buildfile.remote import kind_of
from buildah_py.errors import BuildFileError, UsageError
from buildah_py.frozen import replace
from buildah_py.sources.urls import context_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from buildah_py.api.request import BuildRequest
    from buildah_py.bake.home import Home
    from buildah_py.bake.targets import Target

_OPTIONS: Final = {
    "args": "--build-arg",
    "labels": "--label",
    "tags": "--tag",
    "target": "--target",
    "platforms": "--platform",
    "annotations": "--annotation",
    "attest": "--attest",
    "cache-from": "--cache-from",
    "cache-to": "--cache-to",
    "secret": "--secret",
    "ssh": "--ssh",
    "output": "--output",
    "no-cache": "--no-cache",
    "no-cache-filter": "--no-cache-filter",
    "pull": "--pull",
    "network": "--network",
    "shm-size": "--shm-size",
    "ulimits": "--ulimit",
    "extra-hosts": "--add-host",
    "entitlements": "--allow",
    "contexts": "--build-context",
    "dockerfile": "--file",
}
"""Attributes, and the options of a build that say the same."""
_BUILD: Final = "build"


class TargetRequest(NamedTuple):
    """A target as a request for a build; `call` is what is to be done, `notes` what has no effect."""

    request: BuildRequest
    call: str
    notes: tuple[str, ...]


def request_of(target: Target, home: Home, options: Sequence[str], images: Mapping[str, str]) -> TargetRequest:
    """Read a target; `options` are those of the command line that hold for all, `images` the names of other targets'.

    Raises BuildFileError that names the target's attribute, or else where the target stands.
    """
    from buildah_py.cli import build
    from buildah_py.cli.arguments import fill, make_parser

    parser = make_parser(_BUILD, _BUILD)
    build.configure(parser)
    try:
        context, file = _places(target, home)
        given = [*options, *_arguments(target, home, images), *(["--file", file] if file else [])]
        args = parser.parse_args([*given, "--", context])
        fill(args, parser.given, _BUILD, os.environ)
        said: list[str] = []
        if "PYBUILD_DOCKER_PLUGIN" in os.environ:
            from buildah_py.cli.docker_plugin import settle

            said = settle(args)
        request = build.read_request(args)
    except UsageError as error:
        raise fault(target, error) from error
    if inline := target.text("dockerfile-inline"):
        request = replace(request, text=inline, file=f"{target.name}.dockerfile-inline")
    call = target.text("call").replace("lint", "check", 1)
    return TargetRequest(request, call or _BUILD, (*getattr(args, "notes", ()), *said))


def fault(target: Target, error: UsageError) -> UsageError | BuildFileError:
    """Give an error about a target's options with the place of what asks for them."""
    words = error.message.replace("=", " ").split()
    attribute = next((name for name, option in _OPTIONS.items() if option in words), "")
    place = target.at(attribute)
    shown = error.message
    if attribute:
        shown = shown.removeprefix(f"{_OPTIONS[attribute]} ").removeprefix(f"{_OPTIONS[attribute]}=")
    message = f"{attribute or 'the options'} of the target `{target.name}`: {shown}"
    return place.error(message, error.hint) if place is not None else UsageError(message, hint=error.hint)


def _places(target: Target, home: Home) -> tuple[str, str]:
    """Give the context and the build file, "" for the one that is found there."""
    context = target.text("context")
    context = context_url(context) or home.path(context)
    file = target.text("dockerfile")
    if target.text("dockerfile-inline"):
        return context, ""
    if file.startswith(CWD):
        return context, file.removeprefix(CWD)
    if kind_of(context) != "path" or kind_of(file) != "path":
        return context, "" if file == "Dockerfile" and kind_of(context) != "git" else file
    path = os.path.join(context, file)
    # Where nobody has named a file, ours are looked for as well.
    return context, "" if file == "Dockerfile" and not os.path.exists(path) else path


def _arguments(target: Target, home: Home, images: Mapping[str, str]) -> Iterator[str]:
    for name, option in _OPTIONS.items():
        value: Any = target.values.get(name)
        kind = ATTRIBUTES[name].kind
        if not value or name == "dockerfile":
            continue
        if name == "contexts":
            yield from (f"{option}={key}={_context(one, home, images)}" for key, one in value.items())
        elif kind == "map":
            yield from (f"{option}={key}={one}" for key, one in value.items() if one is not None)
        elif kind == "flag":
            yield option
        elif kind == "text":
            yield f"{option}={value}"
        elif kind == "texts":
            yield from (f"{option}={one}" for one in value)
        else:
            yield from (f"{option}={text_of(kind, one)}" for one in value)


def _context(text: str, home: Home, images: Mapping[str, str]) -> str:
    if text.startswith(TARGET):
        return f"docker-image://{images[text.removeprefix(TARGET)]}"
    if "://" in text.removeprefix(CWD) or context_url(text):
        return text
    return home.path(text)
