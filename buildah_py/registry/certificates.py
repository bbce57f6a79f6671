"""Certificates for registries: CAs and client certificates of certs.d directories, beside the system's CAs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.errors import UsageError
from buildah_py.http import tls

if TYPE_CHECKING:
    from buildah_py.registry.options import RegistryOptions

_ADVICE = {
    tls.UNTRUSTED: "put its CA into /etc/containers/certs.d/{host}/ca.crt, or say --tls-verify=false",
    tls.PLAIN: "if plain HTTP is meant, say --tls-verify=false, or `insecure = true` for it in registries.conf",
    tls.REFUSED: "a client certificate belongs into /etc/containers/certs.d/{host}: client.cert and client.key",
}


class RegistryCertificates(tls.Certificates):
    """Those that the options and the directories certs.d/HOST name: CAs are *.crt, pairs NAME.cert and NAME.key."""

    def __init__(self, options: RegistryOptions) -> None:
        super().__init__(options.environ, options.ca_files)
        self._options = options

    def files(self, host: str) -> tls.Files:
        """Give what there is for a host (with its port). Raises UsageError for a certificate without its key."""
        folder = next((path for path in _folders(host, self._options) if os.path.isdir(path)), None)
        found = tls.Files() if folder is None else _look(folder)
        given = self._options.files_for.get(host)
        return tls.Files(found.cas + given.cas, found.pairs + given.pairs) if given is not None else found

    def advice(self, fault: str, host: str) -> str:
        """Say what helps against a fault of TLS."""
        return _ADVICE[fault].format(host=host)


def _folders(host: str, options: RegistryOptions) -> list[str]:
    if options.cert_dir:
        return [options.cert_dir]
    home = options.environ.get("HOME", "")
    config = options.environ.get("XDG_CONFIG_HOME") or (os.path.join(home, ".config") if home else "")
    folders = [os.path.join(config, "containers/certs.d"), os.path.join(config, "docker/certs.d")] if config else []
    if home:
        folders.append(os.path.join(home, ".docker/certs.d"))
    return [os.path.join(folder, host) for folder in (*folders, "/etc/containers/certs.d", "/etc/docker/certs.d")]


def _look(folder: str) -> tls.Files:
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
    return tls.Files(tuple(os.path.join(folder, name) for name in names if name.endswith(".crt")), tuple(pairs))
