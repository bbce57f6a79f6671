from __future__ import annotations

import ssl
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import UsageError
from buildah_py.http import tls
from buildah_py.http.tls import Certificates, Files
from tests.registry_server import certificate

if TYPE_CHECKING:
    from pathlib import Path


class Own(Certificates):
    """Certificates with files of its own for each host."""

    def __init__(self, files: dict[str, Files], cas: tuple[str, ...] = ()) -> None:
        super().__init__({}, cas)
        self._files = files

    def files(self, host: str) -> Files:
        return self._files.get(host, Files())


def test_hosts_with_the_same_files_share_a_context(tmp_path: Path) -> None:
    made = certificate(tmp_path / "ca")
    own = Own({"a.test": Files((made.ca,)), "b.test": Files((made.ca,))})
    assert own.context("a.test", verify=True) is own.context("b.test", verify=True)
    assert own.context("a.test", verify=True) is not own.context("c.test", verify=True)
    assert own.context("a.test", verify=True) is not own.context("a.test", verify=False)


def test_who_verifies_nothing_reads_no_cas() -> None:
    context = Certificates({"SSL_CERT_FILE": "/nowhere"}).context("a.test", verify=False)
    assert context.verify_mode == ssl.CERT_NONE
    assert not context.check_hostname


def test_old_versions_are_not_spoken() -> None:
    assert Certificates({}).context("a.test", verify=True).minimum_version == ssl.TLSVersion.TLSv1_2


def test_the_environment_names_the_cas(tmp_path: Path) -> None:
    made = certificate(tmp_path / "ca")
    context = Certificates({"SSL_CERT_FILE": made.ca}).context("a.test", verify=True)
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.cert_store_stats()["x509_ca"] == 1, "they replace the system's"
    with pytest.raises(UsageError, match="SSL_CERT_FILE=/nowhere cannot be used"):
        Certificates({"SSL_CERT_FILE": "/nowhere"}).context("a.test", verify=True)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    made, other = certificate(tmp_path / "ca"), certificate(tmp_path / "other")
    nothing = tmp_path / "nothing.crt"
    nothing.write_text("no certificate")
    with pytest.raises(UsageError, match="/nowhere does not exist"):
        Own({}, ("/nowhere",)).context("a.test", verify=True)
    with pytest.raises(UsageError, match=r"nothing\.crt holds no certificates"):
        Own({"a.test": Files((str(nothing),))}).context("a.test", verify=True)
    pair = Files(pairs=((made.certificate, other.key),))
    with pytest.raises(UsageError, match="do not belong together"):
        Own({"a.test": pair}).context("a.test", verify=True)


def test_a_bundle_is_found_where_the_interpreter_knows_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = certificate(tmp_path / "ca")
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda _: None)
    nowhere = SimpleNamespace(capath=None)
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nowhere)
    monkeypatch.setattr(tls, "_BUNDLES", ("/nowhere", made.ca))
    assert Certificates({}).context("a.test", verify=True).cert_store_stats()["x509_ca"] == 1


def test_advice() -> None:
    assert "SSL_CERT_FILE" in Certificates({}).advice(tls.UNTRUSTED, "a.test")
