"""The door to registries: one object for a process, its connections and tokens shared by all threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, TypeVar

from buildah_py.errors import RegistryError
from buildah_py.registry import configuration as configurations
from buildah_py.registry import download, manifests, upload
from buildah_py.registry.endpoint import endpoints
from buildah_py.registry.manifests import ACCEPTED, RawManifest
from buildah_py.registry.session import PULL, Session, Shared

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import BinaryIO

    from buildah_py.image.blob import VerifiedStream
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.image.reference import Reference
    from buildah_py.registry.configuration import Configuration
    from buildah_py.registry.options import RegistryOptions
    from buildah_py.registry.upload import Outcome

_T = TypeVar("_T")


class Registry:
    """Pulls and pushes. Making one is cheap and touches neither network nor files; `close` when done.

    Every method may be called from several threads at once, and raises RegistryError with the registry and the
    reference in its message, UsageError for configuration and credentials that cannot be used.
    """

    def __init__(self, options: RegistryOptions) -> None:
        self.options = options
        self._shared = Shared(options)
        self._configuration: Configuration | None = None

    def close(self) -> None:
        """End connections, and whatever waits for them."""
        self._shared.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def manifest(self, reference: Reference, *, accept: Sequence[str] = ACCEPTED) -> RawManifest:
        """Fetch the manifest or index of a reference; its digest is verified, its media type one of `accept`."""
        name = _name(reference)
        return self._first(reference, lambda session: manifests.fetch(session, name, accept))

    def pushed_manifest(self, reference: Reference) -> RawManifest:
        """Fetch a manifest or index as it is where a reference is pushed to, no mirror of that."""
        return manifests.fetch(self._pushing(reference), _name(reference), ACCEPTED)

    def resolve(self, reference: Reference, *, accept: Sequence[str] = ACCEPTED) -> Descriptor:
        """Ask what a reference is at this moment; no manifest is fetched where the registry answers HEAD."""
        name = _name(reference)

        def ask(session: Session) -> Descriptor:
            return manifests.head(session, name, accept) or manifests.fetch(session, name, accept).descriptor

        return self._first(reference, ask)

    def open_blob(self, reference: Reference, descriptor: Descriptor) -> VerifiedStream:
        """Open a blob of a reference's repository; what is read from the stream has been or is being verified."""
        return download.open_blob(self._sessions(reference), descriptor)

    def has_blob(self, reference: Reference, digest: str) -> bool:
        """Whether the repository of a reference (not a mirror of it) has a blob."""
        return download.exists(self._pushing(reference), digest, PULL)

    def push_blob(
        self,
        reference: Reference,
        descriptor: Descriptor,
        open_blob: Callable[[], BinaryIO],
        mount_from: Sequence[str] = (),
    ) -> Outcome:
        """Bring a blob into a reference's repository, unless it is there; say how it came there.

        `mount_from` are names as `Reference.name` gives them, of repositories that may have the blob; those of other
        registries are passed over. `open_blob` may be called more than once.
        """
        session = self._pushing(reference)
        return upload.push(session, descriptor, open_blob, self._mountable(session, mount_from), self.options.sizes)

    def try_push(self, reference: Reference) -> None:
        """See whether a reference's repository may be pushed to; nothing is left there."""
        upload.try_rights(self._pushing(reference).about("whether it may be pushed"))

    def push_manifest(self, reference: Reference, data: bytes, media_type: str) -> str:
        """Push a manifest or an index under the reference's tag, or under its digest where there is none."""
        return manifests.push(self._pushing(reference), reference.tag or "", data, media_type)

    def tags(self, reference: Reference) -> list[str]:
        """Give the tags of a reference's repository."""
        return self._first(reference, manifests.tags)

    def _first(self, reference: Reference, do: Callable[[Session], _T]) -> _T:
        """Do something at the first endpoint where it can be done; the errors of mirrors are in the last one's hint."""
        sessions = self._sessions(reference)
        passed: list[str] = []
        for session in sessions[:-1]:
            try:
                return do(session)
            except RegistryError as error:
                session.server.is_down = not error.status
                passed.append(error.message)
        try:
            return do(sessions[-1])
        except RegistryError as error:
            if not passed:
                raise
            hint = "; ".join((*filter(None, (error.hint,)), *(f"mirror: {text}" for text in passed)))
            raise RegistryError(error.message, hint=hint, status=error.status) from error

    def _sessions(self, reference: Reference) -> list[Session]:
        found = endpoints(reference, self._rules(), tls_verify=self.options.tls_verify)
        is_other = self._is_other(reference)
        sessions = [Session(self._shared, endpoint._replace(is_other=is_other), str(reference)) for endpoint in found]
        return [session for session in sessions if not (session.endpoint.is_mirror and session.server.is_down)]

    def _pushing(self, reference: Reference) -> Session:
        found = endpoints(reference, self._rules(), tls_verify=self.options.tls_verify, pushing=True)
        is_other = self._is_other(reference)
        return Session(self._shared, found[-1]._replace(is_other=is_other), str(reference))

    def _is_other(self, reference: Reference) -> bool:
        meant = self.options.credentials_for
        return bool(meant) and reference.registry not in meant

    def _mountable(self, session: Session, names: Sequence[str]) -> list[str]:
        from buildah_py.image.reference import Reference

        found = []
        for name in dict.fromkeys(names):
            registry, _, repository = name.partition("/")
            there = endpoints(Reference(registry, repository), self._rules(), pushing=True)[-1]
            if there.host == session.endpoint.host and there.repository != session.endpoint.repository:
                found.append(there.repository)
        return found

    def _rules(self) -> Configuration:
        if self._configuration is None:
            found = configurations.load(self.options.environ, self.options.configuration)
            self._configuration = self.options.given.above(found) if self.options.given is not None else found
        return self._configuration


def _name(reference: Reference) -> str:
    reference = reference.with_default_tag()
    return reference.digest or reference.tag or ""
