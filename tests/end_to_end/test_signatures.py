"""Signatures of images in registries: made here and verified by openssl, and the other way round."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from hashlib import scrypt, sha256
from typing import TYPE_CHECKING, Any

import nacl.secret
import pytest

from tests.registry_server import Served, docker_registry

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Pybuild

__all__ = ["docker_registry"]
pytestmark = pytest.mark.root
PASSWORD = "a pass word"
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"


def openssl(*words: object) -> bytes:
    return subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True).stdout


def make_key(directory: Path, curve: str = "P-256") -> tuple[Path, Path]:
    """Make a key; the files of the secret and of the public one."""
    secret, public = directory / f"{curve}.pem", directory / f"{curve}.pub"
    directory.mkdir(exist_ok=True)
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-out", secret)
    openssl("pkey", "-in", secret, "-pubout", "-out", public)
    return secret, public


def sealed(secret: Path, n: int = 32768) -> Path:
    """Put a key into a file as cosign does, with a password."""
    der = openssl("pkcs8", "-topk8", "-nocrypt", "-in", secret, "-outform", "DER")
    salt, nonce = os.urandom(32), os.urandom(24)
    box = nacl.secret.SecretBox(scrypt(PASSWORD.encode(), salt=salt, n=n, r=8, p=1, maxmem=1 << 27, dklen=32))
    content = {
        "kdf": {
            "name": "scrypt",
            "params": {"N": n, "r": 8, "p": 1},
            "salt": base64.b64encode(salt).decode(),
        },
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
        "ciphertext": base64.b64encode(box.encrypt(der, nonce).ciphertext).decode(),
    }
    kind = "ENCRYPTED COSIGN PRIVATE KEY"
    body = base64.encodebytes(json.dumps(content).encode()).decode()
    made = secret.with_suffix(f".{n}.key")
    made.write_text(f"-----BEGIN {kind}-----\n{body}-----END {kind}-----\n")
    return made


def fetched(directory: Path, name: str) -> tuple[dict[str, Any], Path]:
    """Have skopeo fetch what a name is in a registry; the manifest, and the directory that holds its blobs."""
    there = directory / name.rpartition("/")[2].replace(":", "-")
    words = ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{name}", f"dir:{there}"]
    subprocess.run(words, check=True)
    return json.loads((there / "manifest.json").read_text()), there


def signatures(directory: Path, repository: str, digest: str) -> list[tuple[Path, Path]]:
    """Return what was signed of an image, and the signatures, in files of theirs."""
    manifest, there = fetched(directory, f"{repository}:{digest.replace(':', '-')}.sig")
    assert manifest["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    config = json.loads((there / manifest["config"]["digest"].partition(":")[2]).read_text())
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    found = []
    for number, layer in enumerate(manifest["layers"]):
        assert layer["mediaType"] == SIMPLE_SIGNING
        signed, signature = there / layer["digest"].partition(":")[2], there / f"signature{number}"
        assert json.loads(signed.read_text()) == said(repository, digest)
        signature.write_bytes(base64.b64decode(layer["annotations"][SIGNATURE]))
        found.append((signed, signature))
    return found


def said(name: str, digest: str) -> dict[str, Any]:
    """Return what the specification has signatures be of."""
    image = {"docker-manifest-digest": digest}
    kind = "cosign container image signature"
    return {"critical": {"identity": {"docker-reference": name}, "image": image, "type": kind}, "optional": None}


def is_signed(public: Path, signed: Path, signature: Path) -> bool:
    command = ["openssl", "dgst", "-sha256", "-verify", public, "-signature", signature, signed]
    return subprocess.run(list(map(str, command)), check=False, capture_output=True).returncode == 0


def test_what_is_signed_here_is_verified_by_openssl(busybox: Pybuild, docker_registry: Served) -> None:
    secret, public = make_key(busybox.work / "keys")
    _, other = make_key(busybox.work / "others")
    repository = f"{docker_registry.host}/signed"
    name = f"{repository}:1"
    context = busybox.context("FROM scratch\nCOPY a.txt /\n", a_txt="a")
    options = ("--sign", sealed(secret), "--push", "--metadata-file=meta.json", "--progress=plain")
    shown = busybox.run("-t", name, *options, context, COSIGN_PASSWORD=PASSWORD).stderr
    digest = json.loads((busybox.work / "meta.json").read_text())["containerimage.digest"]
    pinned = f"{repository}@{digest}"
    assert f"signed {pinned}" in shown
    ((signed, signature),) = signatures(busybox.work, repository, digest)
    assert [is_signed(key, signed, signature) for key in (public, other)] == [True, False]

    assert busybox.run("verify-signature", "--key", public, name).stdout == f"{pinned}\n"
    unsigned = busybox.run("verify-signature", "--key", other, f"docker://{name}", status=1)
    assert unsigned.stdout == ""
    assert "not signed by this key" in unsigned.stderr
    assert "made with another key" in unsigned.stderr
    # Once more changes nothing; a second key's signature stands beside the first one's.
    again = busybox.run("push", "--sign", sealed(secret, 65536), name, COSIGN_PASSWORD=PASSWORD)
    assert "signed by this key already" in again.stderr
    busybox.run("push", "--sign", other.with_suffix(".pem"), name)
    assert [
        [is_signed(key, *one) for key in (public, other)] for one in signatures(busybox.work, repository, digest)
    ] == [[True, False], [False, True]]
    for key in (public, other):
        assert busybox.run("verify-signature", "--key", key, name).stdout == f"{pinned}\n"


def test_what_openssl_signs_is_verified_here(busybox: Pybuild, docker_registry: Served) -> None:
    """Signatures as cosign and podman write them: with further properties, and the tag in the identity."""
    secret, public = make_key(busybox.work / "keys")
    name = f"{docker_registry.host}/theirs:1"
    busybox.run("push", "--digestfile=digest", "busybox", name)
    digest = (busybox.work / "digest").read_text()
    content = {**said(name, digest), "optional": {"creator": "somebody", "timestamp": 1}}
    layout = busybox.work / "signature"
    (layout / "blobs/sha256").mkdir(parents=True)
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def blob(data: bytes, kind: str, **more: Any) -> dict[str, Any]:
        value = sha256(data).hexdigest()
        (layout / "blobs/sha256" / value).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{value}", "size": len(data), **more}

    (busybox.work / "signed").write_text(json.dumps(content, indent=1))
    signature = openssl("dgst", "-sha256", "-sign", secret, busybox.work / "signed")
    annotations = {SIGNATURE: base64.b64encode(signature).decode(), "dev.sigstore.cosign/bundle": "{}"}
    layer = blob((busybox.work / "signed").read_bytes(), SIMPLE_SIGNING, annotations=annotations)
    other = blob(b"{}", SIMPLE_SIGNING, annotations={SIGNATURE: "no base64"})
    rootfs = {"type": "layers", "diff_ids": [other["digest"], layer["digest"]]}
    config = {"architecture": "", "os": "", "config": {}, "rootfs": rootfs}
    described = blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": described, "layers": [other, layer]}
    index = {"schemaVersion": 2, "manifests": [blob(json.dumps(manifest).encode(), kind)]}
    (layout / "index.json").write_text(json.dumps(index))
    place = f"docker://{docker_registry.host}/theirs:{digest.replace(':', '-')}.sig"
    subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}", place], check=True)
    verified = busybox.run("verify-signature", "--key", public, name)
    assert verified.stdout == f"{docker_registry.host}/theirs@{digest}\n"
    assert f"it was signed as {name}" in verified.stderr


def test_an_index_is_signed_with_its_images(busybox: Pybuild, docker_registry: Served) -> None:
    secret, public = make_key(busybox.work / "keys")
    repository = f"{docker_registry.host}/index"
    context = busybox.context("FROM scratch\nARG TARGETARCH\nCOPY a.txt /$TARGETARCH\n", a_txt="a")
    options = ("--platform=linux/amd64,linux/arm64", "--provenance", "--sign", secret, "--push")
    shown = busybox.run("-t", f"{repository}:1", *options, context).stderr
    assert "5 signatures" in shown, "index, two images, two attestations"
    pinned = busybox.run("verify-signature", "--key", public, f"{repository}:1").stdout.strip()
    index = subprocess.run(
        ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{repository}:1"],
        check=True,
        capture_output=True,
    ).stdout
    assert pinned == f"{repository}@sha256:{sha256(index).hexdigest()}"
    digests = [one["digest"] for one in json.loads(index)["manifests"]]
    for one in digests:
        (found,) = signatures(busybox.work, repository, one)
        assert is_signed(public, *found)
    # A signature is of the image that has it, and of no other.
    first, second = digests[:2]
    tags = [f"docker://{repository}:{one.replace(':', '-')}.sig" for one in (first, second)]
    tls = ("--src-tls-verify=false", "--dest-tls-verify=false")
    subprocess.run(["skopeo", "copy", "-q", *tls, *tags], check=True)
    busybox.run("verify-signature", "--key", public, f"{repository}@{first}")
    moved = busybox.run("verify-signature", "--key", public, f"{repository}@{second}", status=1)
    assert f"it is of another image: {first}" in moved.stderr


def test_what_cannot_be_signed_is_refused_before_the_build(busybox: Pybuild) -> None:
    secret, public = make_key(busybox.work / "keys")
    wrong, _ = make_key(busybox.work / "keys", "P-384")
    locked = sealed(secret)
    (busybox.work / "damaged").write_text(locked.read_text().replace("ENCRYPTED COSIGN", "ENCRYPTED SIGSTORE")[:200])
    context = busybox.context("FROM busybox\nRUN echo built\n")
    for key, environ, words in (
        (secret, {}, "none is pushed"),
        ("nothing", {}, "cannot be read"),
        (public, {}, "it is no secret key"),
        (wrong, {}, "is of another kind (secp384r1)"),
        (locked, {"COSIGN_PASSWORD": "other"}, "its password is another one"),
        (locked, {}, "have the variable COSIGN_PASSWORD say it"),
        (busybox.work / "damaged", {"COSIGN_PASSWORD": PASSWORD}, "cannot be used"),
    ):
        refused = busybox.run("-t", "test", "--sign", key, context, status=2, **environ).stderr
        assert words in refused
        assert "built" not in refused
    assert "is a secret one" in busybox.run("verify-signature", "--key", secret, "localhost/a", status=2).stderr


def test_an_image_that_nobody_signed(busybox: Pybuild, docker_registry: Served) -> None:
    _, public = make_key(busybox.work / "keys")
    name = f"{docker_registry.host}/unsigned:1"
    busybox.run("push", "busybox", name)
    said = busybox.run("verify-signature", "--key", public, name, status=1).stderr
    assert "is not signed" in said
    assert "no manifest" not in said
    busybox.run("verify-signature", "--key", public, f"{docker_registry.host}/missing:1", status=125)
