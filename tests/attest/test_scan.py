"""Packages that are found in files of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .trees import go_program, jar, rpm_header, rpm_ndb, rpm_sqlite, scanned

if TYPE_CHECKING:
    from pathlib import Path

    from buildah_py.attest.scan import Scanned

MODULES = (
    "path\texample.com/tool/cmd\nmod\texample.com/tool\tv1.2.3\th1:x=\n"
    "dep\tgithub.com/a/b\tv0.1.0\th1:y=\ndep\tgithub.com/c/d\tv2.0.0\n=>\tgithub.com/e/f\tv2.1.0\th1:z=\n"
    "build\t-compiler=gc\n"
)


def purls(found: Scanned) -> list[str]:
    return [one.purl for one in found.packages]


def test_dpkg(tmp_path: Path) -> None:
    status = """Package: libc6
Status: install ok installed
Maintainer: GNU Libc Maintainers <debian-glibc@lists.debian.org>
Architecture: amd64
Multi-Arch: same
Source: glibc (2.36-9)
Version: 2.36-9+deb12u4
Description: GNU C Library: Shared libraries
 Contains the standard libraries
 Version: 0

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1
"""
    files = {
        "var/lib/dpkg/status": status,
        "etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12"\n',
        "var/lib/dpkg/status.d/tzdata": "Package: tzdata\nVersion: 2024a-0\nArchitecture: all\n",
        "var/lib/dpkg/status.d/tzdata.md5sums": "0 usr/share/x\n",
    }
    found = scanned(tmp_path, files)
    assert purls(found) == [
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12&upstream=glibc%402.36-9",
        "pkg:deb/debian/tzdata@2024a-0?arch=all&distro=debian-12",
    ]
    assert found.packages[0].supplier.startswith("GNU Libc")
    assert found.system.name == "Debian GNU/Linux 12"


def test_apk(tmp_path: Path) -> None:
    installed = "C:Q1x\nP:musl\nV:1.2.4-r2\nA:x86_64\nL:MIT\no:musl\nm:Ann <a@b.c>\nF:lib\nR:ld.so\n\n"
    installed += "P:libssl3\nV:3\no:openssl\n\n"
    files = {"lib/apk/db/installed": installed, "usr/lib/os-release": "ID=alpine\nVERSION_ID=3.18.4\n"}
    found = scanned(tmp_path, files)
    assert purls(found) == [
        "pkg:apk/alpine/libssl3@3?distro=alpine-3.18.4&upstream=openssl",
        "pkg:apk/alpine/musl@1.2.4-r2?arch=x86_64&distro=alpine-3.18.4",
    ]
    assert found.packages[1].license == "MIT"


@pytest.mark.parametrize("form", ["sqlite", "ndb"])
def test_rpm(tmp_path: Path, form: str) -> None:
    headers = [
        rpm_header({1000: "bash", 1001: "5.2.15", 1002: "3.fc38", 1003: 1, 1014: "GPL-3.0-or-later", 1022: "x86_64"}),
        rpm_header({1000: "gpg-pubkey", 1001: "1"}),
        rpm_header({1000: "tzdata", 1001: "2023c", 1002: "1.fc38", 1011: "Fedora Project", 1022: "noarch"}),
        b"\0\0",
    ]
    sqlite = form == "sqlite"
    name = "var/lib/rpm/rpmdb.sqlite" if sqlite else "usr/lib/sysimage/rpm/Packages.db"
    data = rpm_sqlite(tmp_path / "db", headers) if sqlite else rpm_ndb(headers)
    found = scanned(tmp_path / "root", {name: data, "etc/os-release": "ID=fedora\nVERSION_ID=38\n"})
    assert purls(found) == [
        "pkg:rpm/fedora/bash@5.2.15-3.fc38?arch=x86_64&distro=fedora-38&epoch=1",
        "pkg:rpm/fedora/tzdata@2023c-1.fc38?arch=noarch&distro=fedora-38",
    ]
    assert found.packages[1].supplier == "Fedora Project"
    assert found.unread == ()


def test_what_is_not_read_is_told(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {
        "var/lib/rpm/Packages": b"\0" * 64,
        "usr/share/rpm/rpmdb.sqlite": b"no data base" * 100,
        "usr/lib/sysimage/rpm/Packages.db": b"x" * 64,
        "a.jar": b"PK no archive",
        "node_modules/a/package.json": "{",
    }
    found = scanned(tmp_path, files)
    assert found.packages == ()
    said = "\n".join(found.unread)
    for words in (
        "/var/lib/rpm/Packages is a Berkeley DB",
        "rpmdb.sqlite cannot be read",
        "rpm's own data base",
        "/a.jar cannot",
        "is not JSON",
    ):
        assert words in said


def test_python_and_node(tmp_path: Path) -> None:
    place = "usr/lib/python3/dist-packages"
    metadata = "Metadata-Version: 2.1\nName: PyYAML\nVersion: 6.0\nLicense: MIT\n\nName: no\n"
    files = {
        f"{place}/PyYAML-6.0.dist-info/METADATA": metadata,
        f"{place}/six-1.16.0.egg-info/PKG-INFO": "Name: six\nVersion: 1.16.0\nLicense: UNKNOWN\n",
        f"{place}/old.egg-info": "Name: old\nVersion: 1\nLicense-Expression: MIT OR Apache-2.0\n",
        "app/node_modules/@babel/core/package.json": '{"name": "@babel/core", "version": "7.0.0", "license": "MIT"}',
        "app/node_modules/a/node_modules/b/package.json": '{"name": "b", "version": "1.0.0", "author": {"name": "Bo"}}',
        "app/node_modules/a/package.json": '{"name": "a", "version": "1.0.0", "license": {"type": "ISC"}}',
        "app/node_modules/a/lib/package.json": '{"name": "inner", "version": "9.9.9"}',
        "app/node_modules/c/package.json": '{"type": "module"}',
        "app/package.json": '{"name": "own", "version": "0.0.1"}',
    }
    found = scanned(tmp_path, files)
    assert purls(found) == [
        "pkg:npm/%40babel/core@7.0.0",
        "pkg:npm/a@1.0.0",
        "pkg:npm/b@1.0.0",
        "pkg:pypi/pyyaml@6.0",
        "pkg:pypi/old@1",
        "pkg:pypi/six@1.16.0",
    ]
    licenses = {one.name: (one.license, one.is_expression) for one in found.packages}
    assert licenses["old"] == ("MIT OR Apache-2.0", True)
    assert licenses["PyYAML"] == ("MIT", False)
    assert licenses["six"] == ("", False)
    assert licenses["a"] == ("ISC", True)


@pytest.mark.parametrize("inline", [True, False])
def test_go(tmp_path: Path, inline: bool) -> None:
    files = {
        "usr/bin/tool!": go_program("go1.21.3", MODULES, inline=inline),
        "usr/bin/not-executable": go_program("go1.1", ""),
    }
    found = scanned(tmp_path, files)
    assert purls(found) == [
        "pkg:golang/example.com/tool@v1.2.3",
        "pkg:golang/github.com/a/b@v0.1.0",
        "pkg:golang/github.com/e/f@v2.1.0",
        "pkg:golang/stdlib@1.21.3",
    ]


def test_a_go_program_that_is_cut_off_or_no_program_tells_nothing(tmp_path: Path) -> None:
    whole = go_program("go1.21.3", MODULES)
    files = {
        "cut!": whole[:100] + b"\xff" * (150 << 10),
        "none!": b"\x7fELF\x02\x01\x01" + b"\xff" * (150 << 10),
        "text!": b"#!/bin/sh\n" + b"x" * (150 << 10),
    }
    found = scanned(tmp_path, files)
    assert found.packages == ()


def test_java(tmp_path: Path) -> None:
    inner = jar({"META-INF/maven/org.inner/lib/pom.properties": "#x\ngroupId=org.inner\nartifactId=lib\nversion=3.1\n"})
    manifest = "Manifest-Version: 1.0\r\nImplementation-Title: thing\r\n"
    manifest += "Implementation-Vendor: A very long\r\n  vendor\r\n\r\nName: x\r\n"
    files = {
        "app/own-1.0.jar": jar(
            {"META-INF/maven/org.own/own/pom.properties": "groupId=org.own\nartifactId=own\nversion=1.0\n"}
        ),
        "app/thing-2.5.jar": jar({"META-INF/MANIFEST.MF": manifest}),
        "app/boot.war": jar({"WEB-INF/lib/lib-3.1.jar": inner, "META-INF/MANIFEST.MF": "Implementation-Version: 7\n"}),
        "app/empty.jar": jar({"a": "b"}),
    }
    found = scanned(tmp_path, files)
    assert purls(found) == [
        "pkg:maven/boot@7",
        "pkg:maven/org.inner/lib@3.1",
        "pkg:maven/org.own/own@1.0",
        "pkg:maven/thing@2.5",
    ]
    assert found.paths["pkg:maven/org.inner/lib@3.1"] == ["app/boot.war!/WEB-INF/lib/lib-3.1.jar"]
    assert found.packages[3].supplier == "A very long vendor"
