"""Digests that name results before they exist: of chains and of steps.

Everything is hashed as canonical JSON, so that no two different ingredients can be written alike, and so that a key's
ingredients can be kept beside it and compared later.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from buildah_py.checksum import sha256_hex

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEY_VERSION = 2
"""Raised when a step's result can change though its ingredients look the same: older records then miss."""


BEFORE = "steps before"
"""The input of a step that reads what lasts beside file systems: it stands for the keys of all steps before it."""

MACHINE = "machine"
"""The input of a RUN where not everything is possible: what keeps it from that."""


def canonical_json(value: object) -> bytes:
    """One spelling for equal data: sorted keys, no blanks, ASCII (lone surrogates are escaped)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def digest_of(value: object) -> str:
    """`sha256:<hex>` of plain data."""
    return "sha256:" + sha256_hex(canonical_json(value))


def base_chain(diff_ids: Sequence[str]) -> str:
    """Chain digest of an image's file system, from the diff_ids in its config alone; of none for scratch."""
    return digest_of(["base", KEY_VERSION, *diff_ids])


def next_chain(parent: str, content: str) -> str:
    """Chain digest of a file system with one more layer on it, which has that content digest."""
    return digest_of(["chain", parent, content])


def next_ancestry(key: str, before: Sequence[str]) -> str:
    """Stand for a step's key and all keys before it: `before` are the ancestries of what it ran on and took from."""
    return digest_of(["ancestry", key, *before])


def step_key(
    parent: str, canonical: Mapping[str, object], inputs: Mapping[str, str], *, version: int = KEY_VERSION
) -> str:
    """Digest of all that can change a step's result.

    `parent` is the chain digest that the step runs on, `canonical` the step as plain data, `inputs` a digest for each
    named input.
    """
    return digest_of(["step", version, parent, canonical, inputs])
