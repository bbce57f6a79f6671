"""TLS: the CAs that are believed, and the certificates that servers are shown of us."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.errors import UsageError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence

UNTRUSTED: Final = "untrusted"
PLAIN: Final = "plain"
REFUSED: Final = "refused"
"""Faults: a certificate is not to be trusted; no TLS is spoken; TLS is refused, mostly for want of a certificate."""

_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class Files(NamedTuple):
    """Files for one host beside the system's CAs: those of further CAs, and pairs of certificate and key."""

    cas: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()


class Pem(NamedTuple):
    """The same for a library that speaks TLS by itself: all CAs to believe, a certificate with its chain, its key."""

    cas: bytes
    chain: bytes | None = None
    key: bytes | None = None


def pem(environ: Mapping[str, str], files: Files) -> Pem:
    """Read the CAs of the system, or those named instead, with `files`. Raises UsageError for what cannot be used."""
    Certificates(environ).check(files)
    cas = [*_system_bundles(environ), *files.cas]
    chain, key = files.pairs[0] if files.pairs else ("", "")
    return Pem(b"\n".join(map(_read, cas)), _read(chain) if chain else None, _read(key) if key else None)


class Certificates:
    """Makes the TLS contexts; hosts for which the same files hold share one, for the system's CAs take long to read.

    The CAs are the system's, or those that SSL_CERT_FILE and SSL_CERT_DIR name instead, and `cas`.
    """

    def __init__(self, environ: Mapping[str, str], cas: Sequence[str] = ()) -> None:
        self._environ = environ
        self._cas = tuple(cas)
        self._contexts: dict[tuple[bool, Files], ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def files(self, host: str) -> Files:
        """Give what there is for a host (with its port)."""
        del host
        return Files()

    def advice(self, fault: str, host: str) -> str:
        """Say what helps against a fault of TLS: UNTRUSTED, PLAIN, REFUSED; "" where nothing does."""
        del host
        return "SSL_CERT_FILE names a file of CAs to believe instead of the system's" if fault == UNTRUSTED else ""

    def context(self, host: str, *, verify: bool) -> ssl.SSLContext:
        """Give the TLS context for a host. Raises UsageError for files that cannot be used."""
        files = self.files(host)
        with self._lock:
            made = self._contexts.get((verify, files))
            if made is None:
                made = self._contexts[verify, files] = self._make(files, verify=verify)
            return made

    def check(self, files: Files) -> None:
        """Raise UsageError for files that cannot be used."""
        self._make(files, verify=True)

    def _make(self, files: Files, *, verify: bool) -> ssl.SSLContext:
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if verify:
            _trust_system(context, self._environ)
            for path in (*self._cas, *files.cas):
                try:
                    context.load_verify_locations(path)
                except FileNotFoundError:
                    raise UsageError(f"the CA file {path} does not exist") from None
                except ssl.SSLError as error:
                    raise UsageError(f"{path} holds no certificates: {error.reason or error}") from error
        else:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        for certificate, key in files.pairs:
            try:
                context.load_cert_chain(certificate, key, password=_no_password)
            except FileNotFoundError:
                missing = key if os.path.exists(certificate) else certificate
                raise UsageError(f"the file {missing} does not exist") from None
            except ssl.SSLError as error:
                raise UsageError(f"{certificate} and {key} do not belong together: {error.reason}") from error
        return context


def _no_password() -> str:
    raise UsageError("a client key is encrypted", hint="pybuild asks for no passphrase; keep the key unencrypted")


def _trust_system(context: ssl.SSLContext, environ: Mapping[str, str]) -> None:
    """Load the CAs of the system, or those that SSL_CERT_FILE and SSL_CERT_DIR name instead."""
    import ssl

    file, folder = environ.get("SSL_CERT_FILE"), environ.get("SSL_CERT_DIR")
    if file or folder:
        try:
            context.load_verify_locations(file or None, folder or None)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"SSL_CERT_FILE={file or ''} cannot be used: {error.strerror or error}") from error
        return
    context.load_default_certs()
    paths = ssl.get_default_verify_paths()
    if not context.cert_store_stats()["x509_ca"] and paths.capath is None:
        # An interpreter that was built for another system than this one.
        bundle = next((path for path in _BUNDLES if os.path.exists(path)), None)
        if bundle is not None:
            context.load_verify_locations(bundle)


def _system_bundles(environ: Mapping[str, str]) -> list[str]:
    """Give the files of the CAs that `_trust_system` believes."""
    import re
    import ssl

    file, folder = environ.get("SSL_CERT_FILE"), environ.get("SSL_CERT_DIR")
    if file or folder:
        inside = [os.path.join(folder, name) for name in os.listdir(folder)] if folder else []
        hashed = {os.path.realpath(path) for path in inside if re.search(r"/[0-9a-f]{8}\.[0-9]+$", path)}
        return [*([file] if file else []), *sorted(hashed)]
    default = ssl.get_default_verify_paths().cafile
    bundle = next((path for path in (default, *_BUNDLES) if path and os.path.exists(path)), None)
    return [bundle] if bundle else []


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
