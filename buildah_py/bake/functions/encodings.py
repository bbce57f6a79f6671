"""Functions that write and read: JSON, CSV, base64, URLs, digests, identifiers."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import urllib.parse
import uuid
from typing import TYPE_CHECKING, Any, Final

from buildah_py.bake.functions.function import Library, Parameter, num, text, whole
from buildah_py.bake.values import (
    BOOL,
    NULL,
    NUMBER,
    Type,
    Value,
    ValueFault,
    bool_value,
    list_value,
    number,
    number_text,
    object_value,
    string,
    tuple_value,
)

if TYPE_CHECKING:
    from fractions import Fraction

LIBRARY = Library()
_add = LIBRARY.add
_NAMESPACES: Final = {
    "dns": uuid.NAMESPACE_DNS,
    "url": uuid.NAMESPACE_URL,
    "oid": uuid.NAMESPACE_OID,
    "x500": uuid.NAMESPACE_X500,
}


@_add("jsonencode", Parameter("val", nullable=True))
def _jsonencode(value: Value) -> str:
    return to_json(value)


def to_json(value: Value) -> str:
    """Write a value as JSON, without spaces."""
    if value.raw is None:
        return "null"
    if value.type == BOOL:
        return "true" if value.raw else "false"
    if value.type == NUMBER:
        return number_text(value.raw)
    if isinstance(value.raw, str):
        return json_string(value.raw)
    if isinstance(value.raw, dict):
        return "{" + ",".join(f"{json_string(name)}:{to_json(item)}" for name, item in value.raw.items()) + "}"
    return "[" + ",".join(map(to_json, value.raw)) + "]"


def json_string(value: str) -> str:
    """Write a string as JSON that may stand in HTML, as Go writes it."""
    found = json.dumps(value, ensure_ascii=False)
    for char in "<>&\u2028\u2029":
        found = found.replace(char, f"\\u{ord(char):04x}")
    return found


@_add("jsondecode", text("str"))
def _jsondecode(value: str) -> Value:
    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not JSON")

    try:
        raw = json.loads(value, parse_int=number, parse_float=number, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ValueFault(f"this is not JSON: {error}") from None
    return of_json(raw)


def of_json(raw: Any) -> Value:
    """Make a value of what JSON says; its numbers are values already."""
    if raw is None:
        return NULL
    if isinstance(raw, Value):
        return raw
    if isinstance(raw, bool):
        return bool_value(raw)
    if isinstance(raw, str):
        return string(raw)
    if isinstance(raw, list):
        return tuple_value(map(of_json, raw))
    return object_value({name: of_json(item) for name, item in raw.items()})


@_add("csvdecode", text("str"))
def _csvdecode(value: str) -> Value:
    import csv
    import io

    if '"' in re.sub(r'(?m)(?:^|(?<=,))"(?:[^"]|"")*"(?=,|\r?$)', "", value):
        raise ValueFault(
            "this is not CSV: a quotation mark stands within a field", "double it, in a field with quotation marks"
        )
    try:
        rows = [row for row in csv.reader(io.StringIO(value), strict=True) if row]
    except csv.Error as error:
        raise ValueFault(f"this is not CSV: {error}") from None
    if not rows:
        raise ValueFault("there is no line with names of columns")
    names, lines = rows[0], rows[1:]
    if len(set(names)) < len(names):
        raise ValueFault("a column's name is there twice")
    for count, line in enumerate(lines, 2):
        if len(line) != len(names):
            raise ValueFault(f"line {count} has {len(line)} columns, and the first one {len(names)}")
    of = Type("object", tuple((name, string("").type) for name in sorted(names)))
    objects = [object_value(dict(zip(names, map(string, line), strict=True))) for line in lines]
    return list_value(objects, of)


@_add("base64encode", text("str"))
def _base64encode(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


@_add("base64decode", text("str"))
def _base64decode(value: str) -> str:
    try:
        return base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise ValueFault(f"this is not the base64 of a text: {error}") from None


@_add("urlencode", text("str"))
def _urlencode(value: str) -> str:
    return urllib.parse.quote_plus(value, safe="")


def _digest(name: str) -> None:
    def apply(value: str) -> str:
        return hashlib.new(name, value.encode(), usedforsecurity=False).hexdigest()

    _add(name, text("str"))(apply)


for _name in ("md5", "sha1", "sha256", "sha512"):
    _digest(_name)


@_add("uuidv4")
def _uuidv4() -> str:
    return str(uuid.uuid4())


@_add("uuidv5", text("namespace"), text("name"))
def _uuidv5(namespace: str, name: str) -> str:
    try:
        space = _NAMESPACES.get(namespace) or uuid.UUID(namespace)
    except ValueError:
        raise ValueFault(f"`{namespace}` is not a name space", "dns, url, oid, x500, or a UUID") from None
    return str(uuid.uuid5(space, name))


@_add("bcrypt", text("str"), rest=num("cost"))
def _bcrypt(value: str, *costs: Fraction) -> str:
    if len(costs) > 1:
        raise ValueFault("there is one cost at most")
    cost = whole(costs[0], "cost") if costs else 10
    if not 4 <= cost <= 31:
        raise ValueFault("`cost` is from 4 to 31")
    if len(value.encode()) > 72:
        raise ValueFault("bcrypt takes 72 bytes at most")
    import ctypes
    import os

    alphabet = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    salt = bytes(alphabet[byte % 64] for byte in os.urandom(21)) + b"."
    try:
        crypt = ctypes.CDLL("libcrypt.so.1").crypt
    except OSError:
        raise ValueFault("libcrypt.so.1, which computes this, is not on this machine") from None
    crypt.restype = ctypes.c_char_p
    found = crypt(value.encode(), b"$2a$%02d$%s" % (cost, salt))
    if not found or not found.startswith(b"$2a$"):
        raise ValueFault("libcrypt.so.1 of this machine does not know bcrypt")
    return bytes(found).decode()


@_add("rsadecrypt", text("ciphertext"), text("privatekey"))
def _rsadecrypt(ciphertext: str, key: str) -> str:
    try:
        from cryptography.hazmat.primitives.asymmetric import padding, rsa
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise ValueFault("the package cryptography is needed for this", "install `buildah_py[sign]`") from None
    try:
        loaded = load_pem_private_key(key.encode(), None)
        if not isinstance(loaded, rsa.RSAPrivateKey):
            raise ValueFault("`privatekey` is not a key of RSA")
        return loaded.decrypt(base64.b64decode(ciphertext, validate=True), padding.PKCS1v15()).decode()
    except (ValueError, TypeError) as error:
        raise ValueFault(f"this cannot be decrypted: {error}") from None


def _without_buffers(name: str, *parameters: Parameter) -> None:
    def apply(*_: Value) -> Value:
        raise ValueFault("a bake file has no buffers of bytes", "strlen and substr are for strings")

    _add(name, *parameters)(apply)


_without_buffers("byteslen", Parameter("buf"))
_without_buffers("bytesslice", Parameter("buf"), num("offset"), num("length"))
