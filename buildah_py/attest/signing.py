"""Signatures of what is pushed: when, and of which images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.errors import UsageError
from buildah_py.image import reference as references
from buildah_py.progress import events

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildah_py.attest.keys import SigningKey
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.outputs.spec import Output
    from buildah_py.progress.events import Event
    from buildah_py.registry import Registry


def check_signed(outputs: Sequence[Output]) -> None:
    """Refuse to sign where nothing is pushed. Raises UsageError."""
    if not any(one.push for one in outputs):
        raise UsageError(
            "--sign signs images in registries, and none is pushed", hint="add --push, or push it with --sign later"
        )


def sign_pushed(
    output: Output,
    written: Descriptor | None,
    names: Sequence[str],
    registry: Callable[[bool | None], Registry],
    key: SigningKey | None,
    emit: Callable[[Event], None],
) -> None:
    """Sign what an output has pushed under its names, or under `names`. Raises RegistryError."""
    if key is None or written is None or not output.push:
        return
    from buildah_py.attest.signatures import sign_with_all

    repositories = (references.parse(name)._replace(tag=None, digest=None) for name in output.names or names)
    for repository in dict.fromkeys(repositories):
        count = sign_with_all(registry(output.insecure), repository, written, key)
        pinned = repository.with_digest(written.digest).familiar
        said = f"signed {pinned}" if count else f"{pinned} is signed by this key already"
        emit(events.Note(f"{said}, {count} signatures" if count > 1 else said))
