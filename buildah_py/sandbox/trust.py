"""Further certificates for what runs in a container: those of a proxy that re-signs TLS, as companies have them.

They are a file in memory and variables that point to it, and a file in the init layer where distributions look and the
image has none; nothing of it gets into a layer, the image's config or a key.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.errors import NotFound
from buildah_py.sandbox.operations import FileMount, StubFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.sandbox.operations import Operation
    from buildah_py.sandbox.spec import ContainerSpec

BUNDLE = "/run/pybuild/ca-bundle.pem"
APT_CONFIG = "/run/pybuild/apt.conf"

# Where distributions keep the bundle that all programs of theirs look at: Debian, Fedora, Alpine and BSD, SUSE.
_HOST_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
)
# Variables that OpenSSL, curl, git, Python's requests and pip, Node.js, Deno, Cargo, Nix, Perl, AWS and gRPC look at.
_VARIABLES = (
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "DENO_CERT",
    "CARGO_HTTP_CAINFO",
    "NIX_SSL_CERT_FILE",
    "PERL_LWP_SSL_CA_FILE",
    "AWS_CA_BUNDLE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
)


class Trust(NamedTuple):
    """A bundle of certificates in PEM form."""

    bundle: bytes

    def lent_to(self, spec: ContainerSpec) -> ContainerSpec:
        """Give the container with the files, and with the variables that the image or the step does not set itself."""
        from buildah_py.frozen import replace

        variables = self.environment() | dict(one.split("=", 1) for one in spec.env)
        env = tuple(f"{name}={value}" for name, value in variables.items())
        return replace(spec, env=env, mounts=(*spec.mounts, *self.mounts()))

    def mounts(self) -> tuple[Operation, ...]:
        """Return the files that a container gets."""
        apt = f'Acquire::https::CAInfo "{BUNDLE}";\n'
        files = FileMount(BUNDLE, self.bundle, 0o444), FileMount(APT_CONFIG, apt.encode(), 0o444)
        return *files, *(StubFile(path, self.bundle) for path in _HOST_BUNDLES)

    def environment(self) -> dict[str, str]:
        """Return the variables that point to them."""
        return {**dict.fromkeys(_VARIABLES, BUNDLE), "APT_CONFIG": APT_CONFIG}


def read_trust(source: str, environ: Mapping[str, str]) -> Trust:
    """Read `--ca-bundle`: a file, or `host` for the bundle of this machine ($SSL_CERT_FILE, else its distribution's).

    Raises NotFound where there is none, or where it holds no certificate.
    """
    candidates = [source]
    if source == "host":
        candidates = [path for path in (environ.get("SSL_CERT_FILE", ""), *_HOST_BUNDLES) if path]
    path = next((path for path in candidates if os.path.isfile(path)), None)
    if path is None:
        raise NotFound(f"--ca-bundle {source}: there is no file {' or '.join(candidates)}")
    with open(path, "rb") as file:
        bundle = file.read()
    if b"-----BEGIN CERTIFICATE-----" not in bundle:
        raise NotFound(f"--ca-bundle {source}: {path} holds no certificate", hint="a bundle is a file in PEM form")
    return Trust(bundle)
