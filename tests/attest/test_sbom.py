"""Documents about what is in an image, as others read and check them."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.attest.licenses import expression
from buildah_py.attest.sbom import Described, cyclonedx, spdx

from .trees import go_program, scanned

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = Described("app:latest", "sha256:" + "a" * 64, "2026-01-31T12:00:00.123456789Z")
FILES: dict[str, bytes | str] = {
    "var/lib/dpkg/status": "Package: a\nStatus: install ok installed\nVersion: 1:2.0~x\nMaintainer: A (B) <a@b.c>\n"
    "Architecture: all\n\nPackage: b\nStatus: install ok installed\nVersion: 1\n",
    "etc/os-release": "ID=debian\nVERSION_ID=12\nPRETTY_NAME=Debian\n",
    "x.dist-info/METADATA": "Name: x\nVersion: 1\nLicense: Some licence, of ours\n",
    "y.dist-info/METADATA": "Name: y\nVersion: 1\nLicense-Expression: (MIT OR Apache-2.0) AND BSD-3-Clause\n",
    "z.dist-info/METADATA": "Name: z\nVersion: 1\nLicense-Expression: LicenseRef-Own\nAuthor: Zoe <>\n",
    "var/lib/rpm/Packages": "x",
    "bin/tool!": go_program("go1.20", "path\tcommand\n"),
}


def test_spdx_is_valid(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from spdx_tools.spdx.parser.parse_anything import parse_file
        from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

        found = scanned(tmp_path / "root", FILES)
        document = spdx(IMAGE, found)
        path = tmp_path / "x.spdx.json"
        path.write_text(json.dumps(document))
        read: Any = parse_file(str(path))
        assert [one.validation_message for one in validate_full_spdx_document(read)] == []
    named = {one.name: one for one in read.packages}
    assert {"app:latest", "a", "b", "x", "y", "z", "stdlib", "command"} == set(named)
    assert named["a"].external_references[0].locator == "pkg:deb/debian/a@1:2.0~x?arch=all&distro=debian-12"
    assert str(named["y"].license_declared) == "(MIT OR Apache-2.0) AND BSD-3-Clause"
    assert named["x"].license_comment == "declared as: Some licence, of ours"
    assert "Berkeley DB" in document["creationInfo"]["comment"]
    assert spdx(IMAGE, found) == document, "the same image has the same list"
    assert spdx(IMAGE._replace(id="sha256:" + "b" * 64), found)["documentNamespace"] != document["documentNamespace"]


def test_cyclonedx_is_valid(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator

        document = cyclonedx(IMAGE, scanned(tmp_path, FILES))
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is None
    kinds = [one["type"] for one in document["components"]]
    assert kinds == ["library"] * 7 + ["operating-system"]
    by_name = {one["name"]: one for one in document["components"]}
    assert by_name["y"]["licenses"] == [{"expression": "(MIT OR Apache-2.0) AND BSD-3-Clause"}]
    assert by_name["x"]["licenses"] == [{"license": {"name": "Some licence, of ours"}}]
    assert document["metadata"]["component"]["name"] == "app:latest"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("MIT", "MIT"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("(MIT AND (ISC OR Zlib))", "(MIT AND (ISC OR Zlib))"),
        ("Apache-2.0+", "Apache-2.0+"),
        ("MIT AND", ""),
        ("MIT ISC", ""),
        ("(MIT", ""),
        ("MIT)", ""),
        ("MIT/ISC", ""),
        ("Public Domain", ""),
        ("MIT WITH something", ""),
        ("", ""),
        ("(" * 1000 + "MIT", ""),
    ],
)
def test_license_expressions(text: str, wanted: str) -> None:
    assert expression(text) == wanted
