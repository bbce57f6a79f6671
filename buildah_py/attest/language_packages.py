"""Packages of languages: what Python, Node and Java leave beside their files."""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from typing import TYPE_CHECKING, Any, Final

from buildah_py.attest.packages import Package, Unread, purl, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildah_py.attest.packages import Candidate

_MOST: Final = 4 << 20
_MOST_JAR: Final = 2 << 30
_MOST_INNER: Final = 128 << 20
_DEEPEST: Final = 3
_PYTHON: Final = re.compile(r"(?:.*/)?[^/]+(?:\.dist-info/METADATA|\.egg-info/PKG-INFO|\.egg-info)")
_NODE: Final = re.compile(r"(?:.*/)?node_modules/(?:@[^/]+/)?[^/@.][^/]*/package\.json")
_JAVA: Final = (".jar", ".war", ".ear", ".hpi", ".jpi")
_POM: Final = re.compile(r"META-INF/maven/[^/]+/[^/]+/pom\.properties")
_JAR_NAME: Final = re.compile(r"(?P<name>.+?)-(?P<version>\d[\w.+-]*)")


def is_python(path: str) -> bool:
    """Whether a file describes a Python distribution that is installed."""
    return _PYTHON.fullmatch(path) is not None


def is_node(path: str) -> bool:
    """Whether a file describes a Node package that is installed."""
    return _NODE.fullmatch(path) is not None


def is_java(path: str) -> bool:
    """Whether a file is an archive of Java's."""
    return path.endswith(_JAVA)


def python(file: Candidate) -> Iterator[Package]:
    """Read the core metadata of a distribution (PyPA's specification of it): fields before the first empty line."""
    fields: dict[str, str] = {}
    for line in text_of(file.read(_MOST)).splitlines():
        if not line:
            break
        key, colon, value = line.partition(":")
        if colon and not line[0].isspace():
            fields.setdefault(key.strip().lower(), value.strip())
    name, version = fields.get("name", ""), fields.get("version", "")
    if not name:
        return
    expression = fields.get("license-expression", "")
    declared = "" if fields.get("license", "").upper() == "UNKNOWN" else fields.get("license", "")
    author = fields.get("author", "")
    yield Package(
        "pypi",
        name,
        version,
        purl("pypi", name, version),
        file.path,
        expression or declared,
        is_expression=bool(expression),
        supplier="" if author.upper() == "UNKNOWN" else author,
    )


def node(file: Candidate) -> Iterator[Package]:
    """Read the package.json of a package in node_modules."""
    try:
        raw = json.loads(file.read(_MOST))
    except (ValueError, RecursionError) as error:
        raise Unread(f"/{file.path} is not JSON") from error
    if not isinstance(raw, dict):
        return
    name, version = raw.get("name"), raw.get("version")
    if not isinstance(name, str) or not isinstance(version, str) or not name or not version:
        return  # such as the package.json that only says how a directory's modules are read
    namespace, _, own = name.rpartition("/")
    declared = raw.get("license")
    if isinstance(declared, dict):
        declared = declared.get("type")
    author = raw.get("author")
    if isinstance(author, dict):
        author = author.get("name")
    yield Package(
        "npm",
        name,
        version,
        purl("npm", own, version, namespace=namespace),
        file.path,
        declared if isinstance(declared, str) else "",
        is_expression=True,
        supplier=author if isinstance(author, str) else "",
    )


def java(file: Candidate) -> Iterator[Package]:
    """Read an archive, and those in it: pom.properties of Maven, else its manifest, else its name."""
    if file.entry.size > _MOST_JAR:
        raise Unread(f"/{file.path} is larger than {_MOST_JAR >> 20} MiB")
    descriptor = file.tree.open(file.path)
    with os.fdopen(descriptor, "rb") as opened:
        yield from _archive(opened, file.path, 0)


def _archive(opened: Any, path: str, depth: int) -> Iterator[Package]:
    try:
        with zipfile.ZipFile(opened) as archive:
            names = archive.namelist()
            poms = [name for name in names if _POM.fullmatch(name)]
            found = [one for name in poms if (one := _of_pom(_read(archive, name), path)) is not None]
            own = path.rpartition("/")[2].rpartition(".")[0]
            if not any(
                own in (one.name.rpartition(":")[2], f"{one.name.rpartition(':')[2]}-{one.version}") for one in found
            ):
                manifest = _read(archive, "META-INF/MANIFEST.MF") if "META-INF/MANIFEST.MF" in names else b""
                found = [*_of_manifest(manifest, own, path, bool(found)), *found]
            yield from found
            inner = [name for name in names if is_java(name)] if depth < _DEEPEST else []
            for name in inner:
                if archive.getinfo(name).file_size > _MOST_INNER:
                    raise Unread(f"/{path}!/{name} is larger than {_MOST_INNER >> 20} MiB")
                yield from _archive(io.BytesIO(archive.read(name)), f"{path}!/{name}", depth + 1)
    except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError, ValueError, RuntimeError) as error:
        raise Unread(f"/{path} cannot be read: {error}") from error


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as file:
        return file.read(_MOST)


def _of_pom(data: bytes, path: str) -> Package | None:
    fields = {}
    for line in text_of(data).splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            fields[key.strip()] = value.strip()
    group, name, version = (fields.get(key, "") for key in ("groupId", "artifactId", "version"))
    if not name or not version or "$" in version:
        return None
    whole = f"{group}:{name}" if group else name
    return Package("maven", whole, version, purl("maven", name, version, namespace=group), path)


def _of_manifest(data: bytes, own: str, path: str, contained: bool) -> Iterator[Package]:
    """Read the main attributes of a manifest (JAR File Specification); one without a title or version tells nothing.

    What only its name tells of is given where nothing else is in it.
    """
    lines = text_of(data).replace("\r\n", "\n").replace("\n ", "").split("\n\n", 1)[0].splitlines()
    fields = {key.strip(): value.strip() for key, colon, value in (line.partition(":") for line in lines) if colon}
    version = fields.get("Implementation-Version") or fields.get("Bundle-Version") or ""
    named = _JAR_NAME.fullmatch(own)
    name = named["name"] if named else own
    version = named["version"] if named else version
    group = fields.get("Implementation-Vendor-Id", "")
    if not version or (contained and named is None):
        return
    bundle = fields.get("Bundle-SymbolicName", "").partition(";")[0]
    if not group and bundle.endswith(f".{name}"):
        group = bundle.removesuffix(f".{name}")
    whole = f"{group}:{name}" if group else name
    supplier = fields.get("Implementation-Vendor") or fields.get("Bundle-Vendor") or ""
    yield Package("maven", whole, version, purl("maven", name, version, namespace=group), path, supplier=supplier)
