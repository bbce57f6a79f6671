"""Request for a build, and its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildah_py.api.container import ContainerOptions
from buildah_py.api.output_options import OutputOptions
from buildah_py.api.reuse import ReuseOptions
from buildah_py.contexts.named import ContextOptions
from buildah_py.frozen import dataclass, field
from buildah_py.sharing.options import CacheOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from buildah_py.attest.keys import SigningKey
    from buildah_py.attest.options import AttestOptions
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.registry import RegistryOptions
    from buildah_py.repeat.command import CommandLine


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """Request for a build. `context` and `file` are what `open_main` takes.

    `text` is the build file's text where that is known already. `record` is a file to write the build's record to.
    `jobs` is that of Engine.
    `pull` says when base images are looked for in their registries, `registries` gives what the command line says of
    these. `source_policy` is the file of a source policy, `attest` what is attested of the images. `sign` is the
    key to sign what is pushed with. `command` is the command line that this comes from, where what it leads to may be
    remembered. `left` are further paths of this machine that whoever asks uses, and that no step may take.
    No time in the image is later than `epoch` (seconds since 1970); with `epoch_of_context` that is the main context's
    time.
    """

    context: str | None = "."
    file: str | None = None
    names: tuple[str, ...] = ()
    target: str = ""
    build_args: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    reuse: ReuseOptions = field(default_factory=ReuseOptions)
    network: str = "default"
    allow: frozenset[str] = frozenset()
    platform: str = ""
    outputs: OutputOptions = field(default_factory=OutputOptions)
    extensions: bool = False
    container: ContainerOptions = field(default_factory=ContainerOptions)
    caching: CacheOptions = field(default_factory=CacheOptions)
    secrets: tuple[str, ...] = ()
    ssh: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()
    sources: ContextOptions = field(default_factory=ContextOptions)
    epoch: int | None = None
    epoch_of_context: bool = False
    text: str | None = None
    record: str = ""
    jobs: int = 0
    pull: str = "missing"
    registries: Callable[[], RegistryOptions] | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    source_policy: str = ""
    attest: AttestOptions | None = None
    sign: SigningKey | None = None
    command: CommandLine | None = None
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BuildResult:
    """The image's id, its full names, and how many steps were hits and how many ran.

    Of a build for several platforms, `images` has the id for each, and `image` is the one that suits this machine best.
    `provenance` says for each platform how the image was built, where that was asked for.

    `descriptor` is what a registry calls the image by, if it was `pushed`, else the first output that wrote it as one,
    None where none did; `loaded` is the id that Docker or Podman has for it, "" where it was not loaded there.
    `history` is the file of the build's record in the store's history, "" where it could not be written.
    """

    image: str
    names: tuple[str, ...]
    hits: int
    ran: int
    descriptor: Descriptor | None = None
    pushed: bool = False
    history: str = ""
    loaded: str = ""
    images: tuple[tuple[str, str], ...] = ()
    provenance: tuple[tuple[str, Mapping[str, Any]], ...] = ()
