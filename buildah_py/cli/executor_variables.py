"""Variables that steer kaniko and its forks, and what becomes of each here: what is not done gets a word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.image import numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX: Final = "FF_KANIKO_"
_AS_BUILDKIT: Final = "build files mean here what they mean to BuildKit"
_KEYS: Final = "keys are pybuild's own, and hold all that a step depends on"
_BASES: Final = "base images are in the state directory"
_LAYERS: Final = "layers are written as the image specification says"
SO_ANYWAY: Final[dict[str, str]] = {
    **dict.fromkeys(
        ("ADD_CHECKSUM", "BUILDKIT_ARG_ENV_PRECEDENCE", "CHOWN_ON_IMPLICIT_DIRS", "COPY_AS_ROOT",
         "COPY_CHMOD_ON_IMPLICIT_DIRS", "EXPAND_HEREDOC", "NO_PROPAGATE_ANNOTATIONS", "OCI_SCRATCH_BASE",
         "RUN_HONOR_GROUP", "RUN_MOUNT_BIND", "SCOPED_DOCKERIGNORE", "UNTAR_SKIP_ROOT", "VOLUME_SKIP_MKDIR"),
        _AS_BUILDKIT),
    **dict.fromkeys(
        ("CACHE_PROBE_AFTER_MISS", "DEPRECATE_LAYERLESS_CACHE_ENTRIES", "HASH_DIR_FRAMING",
         "INFER_CROSS_STAGE_CACHE_KEY", "PLATFORM_CACHE_KEY", "RESOLVE_CACHE_KEY", "ROLLING_CACHE_KEY",
         "SKIP_CACHED_STAGES"),
        _KEYS),
    **dict.fromkeys(
        ("NATIVE_COPY", "PRESERVE_HARDLINKS", "RELATIVE_LINK_TARGETS", "REPRODUCIBLE_PRESERVE_BASE_LAYERS",
         "SECUREJOIN_EXTRACTION", "SKIP_RELABEL_RECOMPRESS", "SKIP_WRITE_WHITEOUTS"),
        _LAYERS),
    **dict.fromkeys(("CROSS_REPO_MOUNT", "PATH_SCOPED_REGISTRY_AUTH"), "registries are spoken to so"),
    "DEPRECATE_INTER_STAGE_RESTORE": "builds do not change their context",
    "DISABLE_HTTP2": "pybuild speaks HTTP/1.1",
    "PRECOMPILE_DOCKERIGNORE": "ignore files are read once",
    "PRESERVE_MOUNTED_PATHS": "what is mounted into this container is left alone",
    "RUN_VIA_TINI": "processes that steps leave behind are waited for",
    "SHARED_BASE_CACHE": _BASES,
}  # fmt: skip
"""Feature flags (without their prefix) that ask for what happens anyway, and why they cannot be switched off."""
WITHOUT_MEANING: Final[dict[str, str]] = {
    **dict.fromkeys(("IGNORE_CACHED_MANIFEST", "OCI_WARMER", "WARMER_CACHE_LOCK"), _BASES),
    "CACHE_LOOKAHEAD": _KEYS,
    "CLEAN_KANIKO_DIR": "steps leave nothing behind in the container",
    "COPY_SKIP_SPECIAL_FILES": "fifos and devices are copied as what they are, and sockets do not exist",
}
"""Feature flags that mean nothing here, on or off."""


class KanikoVariable(NamedTuple):
    """A variable that kaniko knows, and what it does here; `noted` has no effect, of which a warning tells."""

    name: str
    text: str
    noted: bool = False


VARIABLES: Final = (
    KanikoVariable("AWS_*", "access keys and the region, of --context s3://, as AWS's own tools find them"),
    KanikoVariable("AZURE_STORAGE_ACCESS_KEY", "refused for a context: nothing is signed with it"),
    KanikoVariable("BENCHMARK_FILE", "`pybuild report` shows where the time went", noted=True),
    KanikoVariable("CI_REGISTRY, CI_REGISTRY_USER, CI_REGISTRY_PASSWORD", "credentials of a job of GitLab"),
    KanikoVariable("DOCKER_CONFIG", "directory of config.json; /kaniko/.docker where there is none in it"),
    KanikoVariable("GIT_PULL_METHOD", "https, http or ssh: how repositories of --context git:// are reached"),
    KanikoVariable("GIT_TOKEN", "name to log in with for --context git://; else GIT_USERNAME and GIT_PASSWORD"),
    KanikoVariable("KANIKO_CLEANUP", "so anyway: steps leave nothing behind in the container"),
    KanikoVariable("KANIKO_DIR", "the same as --kaniko-dir"),
    KanikoVariable("KANIKO_NO_PUSH", "the same as --no-push"),
    KanikoVariable("KANIKO_PRE_CLEANUP", "so anyway: steps leave nothing behind in the container"),
    KanikoVariable("KANIKO_PRESERVE_CONTEXT", "so anyway: builds do not change their context"),
    KanikoVariable("KANIKO_REGISTRY_MAP", "the same as --registry-map, which counts more"),
    KanikoVariable("KANIKO_REGISTRY_MIRROR", "the same as --registry-mirror, which counts more"),
    KanikoVariable("S3_ENDPOINT", "endpoint of --context s3://"),
    KanikoVariable("S3_FORCE_PATH_STYLE", "whether the name of a bucket is in the path"),
    KanikoVariable("STACKLOG_PATH", "`pybuild report` shows where the time went", noted=True),
)
"""Those that are no feature flags."""


def without_effect(environ: Mapping[str, str]) -> Iterator[str]:
    """Say what was asked for and is not done."""
    for one in VARIABLES:
        if one.noted and environ.get(one.name):
            yield f"{one.name}={environ[one.name]} has no effect: {one.text}"
    for name in sorted(environ):
        flag = name.removeprefix(PREFIX)
        if flag == name or not environ[name]:
            continue
        if flag in SO_ANYWAY and numbers.boolean(environ[name]) is not True:
            yield f"{name}={environ[name]} has no effect: {SO_ANYWAY[flag]}"
        elif flag not in SO_ANYWAY and flag not in WITHOUT_MEANING:
            yield f"{name}={environ[name]} has no effect: it is not a feature flag that is known here"
