"""Whom we believe, and whom we are: CAs and client certificates, of the system and of certs.d directories."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.errors import UsageError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from buildah_py.registry.options import RegistryOptions

_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class Files(NamedTuple):
    """What a certs.d directory holds for a host: CAs (*.crt), and pairs of certificate (*.cert) and key (*.key)."""

    cas: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()


class Certificates:
    """Makes the TLS contexts; hosts for which the same files hold share one, for the system's CAs take long to read."""

    def __init__(self, options: RegistryOptions) -> None:
        self._options = options
        self._contexts: dict[tuple[bool, Files], ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def files(self, host: str) -> Files:
        """Give what there is for a host (with its port). Raises UsageError for a certificate without its key."""
        for folder in _folders(host, self._options):
            if os.path.isdir(folder):
                return _look(folder)
        return Files()

    def context(self, host: str, *, verify: bool) -> ssl.SSLContext:
        """Give the TLS context for a host. Raises UsageError for files that cannot be used."""
        files = self.files(host)
        with self._lock:
            made = self._contexts.get((verify, files))
            if made is None:
                made = self._contexts[verify, files] = self._make(files, verify=verify)
            return made

    def _make(self, files: Files, *, verify: bool) -> ssl.SSLContext:
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if verify:
            _trust_system(context, self._options.environ)
            for path in (*self._options.ca_files, *files.cas):
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
            except ssl.SSLError as error:
                raise UsageError(f"{certificate} and {key} are no certificate and its key: {error.reason}") from error
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


def _folders(host: str, options: RegistryOptions) -> list[str]:
    if options.cert_dir:
        return [options.cert_dir]
    home = options.environ.get("HOME", "")
    config = options.environ.get("XDG_CONFIG_HOME") or (os.path.join(home, ".config") if home else "")
    folders = [os.path.join(config, "containers/certs.d"), os.path.join(config, "docker/certs.d")] if config else []
    if home:
        folders.append(os.path.join(home, ".docker/certs.d"))
    return [os.path.join(folder, host) for folder in (*folders, "/etc/containers/certs.d", "/etc/docker/certs.d")]


def _look(folder: str) -> Files:
    names = sorted(os.listdir(folder))
    pairs = []
    for name in names:
        stem, dot, ending = name.rpartition(".")
        if dot and ending == "cert":
            if stem + ".key" not in names:
                raise UsageError(f"{folder}/{name} has no key beside it", hint=f"the key's file has to be {stem}.key")
            pairs.append((os.path.join(folder, name), os.path.join(folder, stem + ".key")))
        elif dot and ending == "key" and stem + ".cert" not in names:
            raise UsageError(
                f"{folder}/{name} has no certificate beside it",
                hint=f"the client's certificate has to be {stem}.cert; files *.crt are CAs",
            )
    return Files(tuple(os.path.join(folder, name) for name in names if name.endswith(".crt")), tuple(pairs))
