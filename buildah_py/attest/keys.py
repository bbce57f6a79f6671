"""Keys that sign images: ECDSA over P-256, in files as cosign writes them, or as openssl does.

cosign's files hold PKCS 8 in NaCl's secretbox, whose key scrypt (RFC 7914) derives from a password. The container is
that of github.com/secure-systems-lab/go-securesystemslib/encrypted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py.errors import ImageError, UsageError
from buildah_py.image import canonical

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

_SEALED: Final = re.compile(
    rb"-----BEGIN (ENCRYPTED (?:COSIGN|SIGSTORE) PRIVATE KEY)-----\s(.*?)-----END \1-----", re.DOTALL
)
_LARGEST: Final = 64 << 10
_MOST_WORK: Final = 512 << 20
"""Bytes that scrypt goes through: cosign has it go through 64 MiB."""
_HOW: Final = "`cosign generate-key-pair` makes one, or openssl: see docs/attestations.md"


class PublicKey(NamedTuple):
    """A key that tells whether something was signed by the secret key that belongs to it."""

    key: EllipticCurvePublicKey

    def is_signed(self, data: bytes, signature: bytes) -> bool:
        """Whether a signature (ASN.1) is one of SHA-256 of `data`."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.hashes import SHA256

        try:
            self.key.verify(signature, data, ec.ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


class SigningKey(NamedTuple):
    """A secret key."""

    key: EllipticCurvePrivateKey

    def sign(self, data: bytes) -> bytes:
        """Return a signature of SHA-256 of `data`, as ASN.1 has it; each time another one."""
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.hashes import SHA256

        return self.key.sign(data, ec.ECDSA(SHA256()))

    @property
    def public(self) -> PublicKey:
        """The key that verifies what this one signs."""
        return PublicKey(self.key.public_key())


def load_signing_key(path: str, password: Callable[[], bytes]) -> SigningKey:
    """Read a secret key from a file; `password` is asked for where it is encrypted. Raises UsageError."""
    data, where = _read(path), f"the key {path}"
    sealed = _SEALED.search(data)
    serialization = _serialization()
    try:
        if sealed:
            key = serialization.load_der_private_key(_opened(sealed[2], password(), where), None)
        elif b"ENCRYPTED" in data:
            key = serialization.load_pem_private_key(data, password())
        else:
            key = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError) as error:
        wrong = "its password is another one, or " if sealed or b"ENCRYPTED" in data else ""
        raise UsageError(f"{where} cannot be used: {wrong}it is no secret key", hint=_HOW) from error
    _check_curve(key, where)
    return SigningKey(key)


def load_public_key(path: str) -> PublicKey:
    """Read a public key (PEM) from a file. Raises UsageError."""
    data, where = _read(path), f"the key {path}"
    if b"PRIVATE KEY" in data:
        raise UsageError(f"{where} is a secret one", hint="name the public key, which cosign calls cosign.pub")
    try:
        key = _serialization().load_pem_public_key(data)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{where} is no public key", hint="it begins with -----BEGIN PUBLIC KEY-----") from error
    _check_curve(key, where)
    return PublicKey(key)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(f"the key {path} cannot be read: {error.strerror}", hint=_HOW) from error
    if len(data) > _LARGEST:
        raise UsageError(f"the key {path} is larger than a key", hint=_HOW)
    return data


def _check_curve(key: object, where: str) -> None:
    curve = getattr(getattr(key, "curve", None), "name", "")
    if curve != "secp256r1":
        raise UsageError(f"{where} is of another kind ({curve or type(key).__name__}) than ECDSA over P-256", hint=_HOW)


def _opened(text: bytes, password: bytes, where: str) -> bytes:
    """Return what a sealed file holds. Raises UsageError, ValueError for a wrong password."""
    try:
        raw = canonical.loads(base64.b64decode(b"".join(text.split()), validate=True))
        if raw["kdf"]["name"] != "scrypt" or raw["cipher"]["name"] != "nacl/secretbox":
            raise UsageError(f"{where} is encrypted otherwise than cosign's are", hint=_HOW)
        numbers = [raw["kdf"]["params"][name] for name in ("N", "r", "p")]
        salt, nonce, sealed = (
            base64.b64decode(one, validate=True)
            for one in (raw["kdf"]["salt"], raw["cipher"]["nonce"], raw["ciphertext"])
        )
    except (ImageError, KeyError, TypeError, ValueError, binascii.Error) as error:
        raise UsageError(f"{where} is damaged: {error}", hint=_HOW) from error
    if not all(isinstance(one, int) and one > 0 for one in numbers) or 128 * math.prod(numbers) > _MOST_WORK:
        raise UsageError(f"{where} asks for scrypt with {numbers}, which is more than a key needs", hint=_HOW)
    n, r, p = numbers
    derived = hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=_MOST_WORK + (64 << 20), dklen=32)
    secret = _secret()
    try:
        opened: bytes = secret.SecretBox(derived).decrypt(sealed, nonce)
    except secret.exc.CryptoError as error:
        raise ValueError(str(error)) from error
    return opened


def _serialization() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError as error:
        raise _missing("cryptography") from error
    return serialization


def _secret() -> Any:
    try:
        import nacl.exceptions
        import nacl.secret
    except ImportError as error:
        raise _missing("pynacl") from error
    return nacl.secret


def _missing(package: str) -> UsageError:
    return UsageError(
        f"signatures of images need the Python package {package}, which is not there", hint=f"`pip install {package}`"
    )
