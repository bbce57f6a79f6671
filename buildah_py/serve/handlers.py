"""Handlers of requests of Docker's Engine API."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py import debug
from buildah_py.errors import EXIT_USAGE
from buildah_py.serve import images
from buildah_py.serve.build import ClassicMessages, flag, words
from buildah_py.serve.credentials import HUB, credentials_file
from buildah_py.serve.faults import RequestError
from buildah_py.serve.work import PrintedLines, Work
from buildah_py.version import __version__

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from email.message import Message

    from buildah_py.serve.answers import Answer
    from buildah_py.serve.body import Body
    from buildah_py.serve.work import Workers
    from buildah_py.store import Store

API: Final = "1.47"
LEAST_API: Final = "1.24"
ENGINE: Final = f"27.5.1+pybuild.{__version__}"
"""The engine whose API is answered, for clients that compare versions, and whose build it is."""
_TAR: Final = "application/x-tar"
_RAW: Final = "application/octet-stream"


class Request(NamedTuple):
    """One request: its parameters, what `{name}` in its path was, its body, and what answers it."""

    query: Mapping[str, list[str]]
    name: str
    headers: Message
    body: Body
    answer: Answer
    connection: socket.socket
    workers: Workers

    def one(self, parameter: str) -> str:
        """Return the value of a parameter, "" without one."""
        return self.query.get(parameter, [""])[-1]

    def work(self, *line: str, fed: bool = False) -> Work:
        """Start a `pybuild` for it, which reads the body if `fed`."""
        return Work(self.workers, line, self.connection, body=self.body if fed else None)


def ping(request: Request) -> None:
    """Say that somebody is there; what clients want to know first is in the headers."""
    request.answer.whole(b"OK")


def version(request: Request) -> None:
    """Say which versions these are."""
    from buildah_py.api.facts import machine_facts
    from buildah_py.image import platform as platforms

    facts = machine_facts(os.environ)
    common = {
        "ApiVersion": API,
        "MinAPIVersion": LEAST_API,
        "Os": facts["OSType"],
        "Arch": platforms.host().architecture,
        "KernelVersion": facts["KernelVersion"],
    }
    details = {**common, "GitCommit": "", "GoVersion": "", "Experimental": "false", "BuildTime": ""}
    component = {"Name": "Engine", "Version": ENGINE, "Details": details}
    request.answer.json(
        {"Platform": {"Name": "pybuild"}, "Components": [component], "Version": ENGINE, **common, "GitCommit": "",
         "GoVersion": "", "BuildTime": ""}
    )  # fmt: skip


def info(request: Request) -> None:
    """Tell facts about the machine, and how many images there are."""
    from buildah_py.api.facts import machine_facts

    with _store() as store:
        count = len(list(store.images.all()))
    facts = {key: value for key, value in machine_facts(os.environ).items() if key != "Platforms"}
    none = dict.fromkeys(("Containers", "ContainersRunning", "ContainersPaused", "ContainersStopped"), 0)
    request.answer.json(
        {**facts, **none, "ID": "pybuild", "Images": count, "ServerVersion": ENGINE, "Driver": "overlay2",
         "DriverStatus": [], "IndexServerAddress": HUB, "OperatingSystem": "Linux", "Labels": [], "Warnings": None,
         "RegistryConfig": {"IndexConfigs": {}, "InsecureRegistryCIDRs": [], "Mirrors": []},
         "Plugins": {"Volume": [], "Network": [], "Authorization": None, "Log": []},
         "Swarm": {"LocalNodeState": "inactive", "NodeID": ""}, "Runtimes": {}, "DefaultRuntime": "",
         "ExperimentalBuild": False, "HttpProxy": "", "HttpsProxy": "", "NoProxy": ""}
    )  # fmt: skip


def auth(request: Request) -> None:
    """Try credentials at a registry; nothing is kept: the client does that."""
    from buildah_py.errors import RegistryError
    from buildah_py.registry import Credentials, RegistryOptions, login

    given = request.body.json()
    user, password = (str(given.get(key) or "") for key in ("username", "password"))
    if not user or not password:
        raise RequestError(400, "username and password are needed")
    name = login.registry_of(str(given.get("serveraddress") or ""))
    try:
        login.check(name, Credentials(user, password), RegistryOptions.from_environment(os.environ))
    except RegistryError as error:
        raise RequestError(401 if error.status in (401, 403) else 500, error.message) from error
    request.answer.json({"Status": "Login Succeeded", "IdentityToken": ""})


def build(request: Request) -> None:
    """Build an image; see build.py."""
    quiet = flag(request.query, "q")
    messages = ClassicMessages(request.answer, quiet=quiet)
    warnings: list[str] = []
    with credentials_file(request.headers.get("X-Registry-Config"), None) as authfile:
        line = words(request.query, warnings.append, authfile)
        fed = line[-1] == "-"
        with request.work(*line, fed=fed) as work:
            for text in warnings:
                messages.warn(text)
            status = work.read(lambda _: None, PrintedLines(messages.hear))
    if status == 0:
        request.answer.end()
        return
    message, of_file = messages.complaint(status)
    if not request.answer.begun:
        raise RequestError(400 if of_file or status == EXIT_USAGE else 500, message)
    messages.fail(message, status if messages.failed else 0)
    request.answer.end()


def build_prune(request: Request) -> None:
    """Remove what no image holds."""
    request.answer.json(images.pruned(_printed(request, *images.prune_words(request.query, cache=True)), cache=True))


def images_prune(request: Request) -> None:
    """Remove images."""
    request.answer.json(images.pruned(_printed(request, *images.prune_words(request.query, cache=False)), cache=False))


def images_list(request: Request) -> None:
    """List images."""
    with _store() as store:
        found = images.list_images(store, images.filters_of(request.one("filters")), debug.log)
    request.answer.json(found)


def image_inspect(request: Request) -> None:
    """Describe an image."""
    with _store() as store:
        found = images.describe(store, request.name)
    request.answer.json(found)


def image_history(request: Request) -> None:
    """Tell how an image came about."""
    with _store() as store:
        found = images.history(store, request.name)
    request.answer.json(found)


def image_tag(request: Request) -> None:
    """Give an image another name."""
    from buildah_py.commands.images import tag_image

    repository, tag = request.one("repo"), request.one("tag")
    if not repository:
        raise RequestError(400, "repo is missing")
    with _store() as store:
        tag_image(store, request.name, [f"{repository}:{tag}" if tag else repository])
    request.answer.nothing(201)


def image_remove(request: Request) -> None:
    """Remove a name, or an image."""
    from buildah_py.errors import UsageError

    with _store() as store:
        try:
            done = images.remove(store, request.name, force=flag(request.query, "force"))
        except UsageError as error:
            raise RequestError(409, f"{error.message}: {error.hint}") from error
    request.answer.json(done)


def image_push(request: Request) -> None:
    """Push an image to its registry."""
    tag = request.one("tag")
    name = f"{request.name}:{tag}" if tag else request.name
    with _store() as store:
        _find(store, name)
    shown = name if tag or "@" in name else f"{name}:latest"
    with credentials_file(None, request.headers.get("X-Registry-Auth"), _registry_of(name)) as authfile:
        given = (f"--authfile={authfile}",) if authfile else ()
        printed = _stream(request, "push", *given, "--", name)
    if printed is None:
        return
    digest = printed.decode().strip()
    request.answer.say(status=f"{shown.rpartition(':')[2]}: digest: {digest} size: 0")
    request.answer.say(progressDetail={}, aux={"Tag": shown.rpartition(":")[2], "Digest": digest, "Size": 0})
    request.answer.end()


def image_create(request: Request) -> None:
    """Get an image from a registry, or make one of a root file system."""
    if source := request.one("fromSrc"):
        _import(request, source)
        return
    name, tag = request.one("fromImage"), request.one("tag")
    if not name:
        raise RequestError(400, "fromImage is missing")
    if tag:
        name = f"{name}@{tag}" if tag.startswith("sha256:") else f"{name}:{tag}"
    given = [f"--platform={platform}"] if (platform := request.one("platform")) else []
    with credentials_file(None, request.headers.get("X-Registry-Auth"), _registry_of(name)) as authfile:
        given += [f"--authfile={authfile}"] if authfile else []
        _look_up(name, authfile)
        printed = _stream(request, "pull", *given, "--", name)
    if printed is not None:
        request.answer.say(status=f"Status: Downloaded newer image for {name}")
        request.answer.end()


def images_load(request: Request) -> None:
    """Load the images of an archive."""
    given = [f"--platform={platform}"] if (platform := request.one("platform")) else []
    printed = _stream(request, "load", *given, fed=True)
    if printed is not None:
        for line in printed.decode("utf-8", "replace").splitlines():
            request.answer.say(stream=line + "\n")
        request.answer.end()


def image_get(request: Request) -> None:
    """Write an image, or several, into an archive."""
    names = [request.name] if request.name else ",".join(request.query.get("names", ())).split(",")
    if not all(names):
        raise RequestError(400, "names is missing")
    with _store() as store:
        for name in names:
            _find(store, name)

    def out(data: bytes) -> None:
        if not request.answer.begun:
            request.answer.begin(_TAR)
        request.answer.send(data)

    with request.work("save", "--compression=uncompressed", "--", *names) as work:
        status = work.read(out)
        if status and not request.answer.begun:
            raise RequestError(500, work.complaint())
        if status:
            raise ConnectionError(work.complaint())  # an archive that breaks off is not to look whole
    request.answer.end()


def system_df(request: Request) -> None:
    """Tell what takes how much of the disk."""
    with _store() as store:
        found = images.usage(store, debug.log)
    request.answer.json(found)


def containers_list(request: Request) -> None:
    """Say that there are no containers: none is started through this API."""
    request.answer.json([])


_NO_CONTAINERS: Final = "pybuild builds images and starts no containers through this API; `pybuild run` does"


def containers(_request: Request) -> None:
    """Refuse what is for containers."""
    raise RequestError(501, _NO_CONTAINERS)


def container_inspect(request: Request) -> None:
    """Say that there is no such container, so that clients look for an image of that name."""
    raise RequestError(404, f"No such container: {request.name}")


def buildkit(_request: Request) -> None:
    """Refuse what is for BuildKit."""
    raise RequestError(501, "there is no BuildKit here; the classic builder takes what its build files have")


ROUTES: Final[tuple[tuple[str, str, Any], ...]] = (
    ("GET", "/_ping", ping),
    ("HEAD", "/_ping", ping),
    ("GET", "/version", version),
    ("GET", "/info", info),
    ("POST", "/auth", auth),
    ("POST", "/build", build),
    ("POST", "/build/prune", build_prune),
    ("GET", "/images/json", images_list),
    ("POST", "/images/create", image_create),
    ("POST", "/images/load", images_load),
    ("POST", "/images/prune", images_prune),
    ("GET", "/images/get", image_get),
    ("GET", "/images/{name}/json", image_inspect),
    ("GET", "/images/{name}/history", image_history),
    ("GET", "/images/{name}/get", image_get),
    ("POST", "/images/{name}/tag", image_tag),
    ("POST", "/images/{name}/push", image_push),
    ("DELETE", "/images/{name}", image_remove),
    ("GET", "/system/df", system_df),
    ("GET", "/containers/json", containers_list),
    ("GET", "/containers/{name}/json", container_inspect),
    ("POST", "/session", buildkit),
    ("POST", "/grpc", buildkit),
)
"""Methods and paths without the version in front, in the order of API's documentation."""
_REFUSED: Final = ("/containers", "/exec", "/networks", "/volumes", "/services", "/swarm", "/commit", "/plugins")
_PATTERNS: Final = [
    (method, re.compile(re.escape(path).replace(r"\{name\}", r"(?P<name>.+)")), handler)
    for method, path, handler in ROUTES
]


def find(method: str, path: str) -> tuple[Any, str]:
    """Find what answers a request, and the name in its path. Raises RequestError."""
    others = []
    for known, pattern, handler in _PATTERNS:
        if match := pattern.fullmatch(path):
            if known == method:
                return handler, match.groupdict().get("name", "")
            others.append(known)
    if any(path == one or path.startswith(f"{one}/") for one in _REFUSED):
        return containers, ""
    if others:
        raise RequestError(405, f"{path} takes {', '.join(sorted(set(others)))}")
    raise RequestError(404, "page not found")


def _store() -> Store:
    from buildah_py.api.state import open_store

    return open_store(tell=debug.log)


def _find(store: Store, name: str) -> None:
    from buildah_py.store.names import find_image

    find_image(store, name)


def _registry_of(name: str) -> str:
    """Return the registry that a name's credentials are for, as files of credentials call it. Raises UsageError."""
    from buildah_py.image import reference
    from buildah_py.image.reference import DOCKER_HUB

    registry = reference.parse(name).registry
    return HUB if registry == DOCKER_HUB else registry


def _look_up(name: str, authfile: str) -> None:
    """See whether a registry has an image: of that clients are told by a status of their own. Raises RequestError."""
    from buildah_py.errors import RegistryError
    from buildah_py.image import reference
    from buildah_py.registry import Registry, RegistryOptions

    with Registry(RegistryOptions.from_environment(os.environ, authfile=authfile)) as registry:
        try:
            registry.resolve(reference.parse(name).with_default_tag())
        except RegistryError as error:
            known = error.status in (401, 403, 404)
            words = "pull access denied, repository does not exist or may require 'docker login': " if known else ""
            raise RequestError(404 if known else 500, f"{words}{error.message}") from error


def _printed(request: Request, *line: str) -> bytes:
    """Return what a `pybuild` prints. Raises RequestError for one that fails."""
    found: list[bytes] = []
    with request.work(*line) as work:
        if work.read(found.append):
            raise RequestError(500, work.complaint())
    return b"".join(found)


def _stream(request: Request, *line: str, fed: bool = False) -> bytes | None:
    """Have a `pybuild` do something, tell what it says meanwhile, and return what it prints; None where it failed."""
    found: list[bytes] = []
    last: list[bytes] = []

    def hear(data: bytes) -> None:
        text = data.decode("utf-8", "replace").rstrip()
        last.append(data + b"\n")
        if text.startswith("pybuild: "):
            return
        if text and len(last) < 10_000:
            request.answer.say(status=text)

    with request.work(*line, fed=fed) as work:
        status = work.read(found.append, PrintedLines(hear))
    if status == 0:
        return b"".join(found)
    text = b"".join(last).decode("utf-8", "replace").strip()
    complaint = text[text.rfind("pybuild: ") :].removeprefix("pybuild: ") or f"pybuild ended with status {status}"
    if not request.answer.begun:
        raise RequestError(500, complaint)
    request.answer.say(errorDetail={"message": complaint}, error=complaint)
    request.answer.end()
    return None


def _import(request: Request, source: str) -> None:
    """Make an image of a root file system that comes as the body."""
    if source != "-":
        raise RequestError(501, "fromSrc can be - alone: send the archive as the body")
    if any(request.query.get("changes", ())):
        raise RequestError(501, "changes: write them into a build file whose FROM is the image")
    name, tag = request.one("repo"), request.one("tag")
    if not name:
        raise RequestError(400, "repo is missing: an image needs a name")
    given = [f"--platform={platform}"] if (platform := request.one("platform")) else []
    printed = _stream(request, "import", f"--tag={name}:{tag}" if tag else f"--tag={name}", *given, "--", "-", fed=True)
    if printed is not None:
        request.answer.say(status=printed.decode().strip())
        request.answer.end()
