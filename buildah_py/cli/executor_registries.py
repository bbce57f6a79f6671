"""Kaniko's options about registries, as the options of registries that they mean."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from buildah_py.errors import UsageError
from buildah_py.frozen import replace
from buildah_py.http.retry import DEFAULT
from buildah_py.http.tls import Files
from buildah_py.image import reference
from buildah_py.image.numbers import decimal
from buildah_py.image.reference import DOCKER_HUB
from buildah_py.registry import automatic
from buildah_py.registry.configuration import Configuration, Mirror, Rule

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from buildah_py.registry import RegistryOptions

_HUB_NAMES: Final = ("index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
_MOST_RETRIES: Final = 1000


def with_options(
    options: RegistryOptions, args: argparse.Namespace, pushed: Sequence[str], directory: str
) -> RegistryOptions:
    """Return options of registries with what kaniko's say; `pushed` are the names that are pushed to.

    `directory` is kaniko's, below which further CAs may lie. Raises UsageError.
    """
    environ = options.environ
    return replace(
        options,
        given=Configuration(_rules(args, environ), _insecure(args, pushed), _insecure_pulls(args)),
        files_for=_files(args),
        ca_files=(*options.ca_files, *_further_cas(directory)),
        helpers=_helpers(args.credential_helpers),
        immutable_is_fine=args.push_ignore_immutable_tag_errors,
        policy=DEFAULT._replace(attempts=max(DEFAULT.attempts, 1 + _retries(args))),
    )


def _insecure(args: argparse.Namespace, pushed: Sequence[str]) -> frozenset[str]:
    named = {_registry(one) for one in (*args.insecure_registry, *args.skip_tls_verify_registry)}
    if args.insecure or args.skip_tls_verify:
        named |= {reference.parse(name).registry for name in pushed}
    return frozenset(named)


def _insecure_pulls(args: argparse.Namespace) -> bool:
    return bool(args.insecure_pull or args.skip_tls_verify_pull)


def _registry(text: str) -> str:
    host = text.removeprefix("https://").removeprefix("http://").rstrip("/")
    return DOCKER_HUB if host in _HUB_NAMES else host


def _rules(args: argparse.Namespace, environ: Mapping[str, str]) -> tuple[Rule, ...]:
    """Return a rule for each registry that has mirrors, in the order in which these were given."""
    mirrors: dict[str, list[Mirror]] = {}
    maps = [("--registry-map", one) for one in args.registry_map] or [
        ("KANIKO_REGISTRY_MAP", environ.get("KANIKO_REGISTRY_MAP", ""))
    ]
    for option, text in maps:
        for part in filter(None, text.split(";")):
            name, equals, other = part.partition("=")
            if not equals or not name or not other:
                raise UsageError(f"{option} {part} names no other registry", hint="write it as REGISTRY=OTHER")
            mirrors.setdefault(_registry(name), []).append(_mirror(other))
    given = args.registry_mirror or environ.get("KANIKO_REGISTRY_MIRROR", "").replace(";", ",").split(",")
    for other in filter(None, given):
        mirrors.setdefault(DOCKER_HUB, []).append(_mirror(other))
    return tuple(
        Rule(name, mirrors=tuple(found), origin="the command line", mirrors_only=args.skip_default_registry_fallback)
        for name, found in mirrors.items()
    )


def _mirror(text: str) -> Mirror:
    scheme, _, place = text.rpartition("://")
    if scheme not in ("", "http", "https"):
        raise UsageError(f"{text} is not a place of registries", hint="write HOST[:PORT][/PATH]")
    return Mirror(place.rstrip("/"), insecure=scheme == "http")


def _files(args: argparse.Namespace) -> dict[str, Files]:
    found: dict[str, Files] = {}
    for text in args.registry_certificate:
        host, file = _pair(text, "--registry-certificate", "HOST=FILE")
        before = found.get(host, Files())
        found[host] = before._replace(cas=(*before.cas, _existing(file, "--registry-certificate")))
    for text in args.registry_client_cert:
        host, files = _pair(text, "--registry-client-cert", "HOST=CERTIFICATE,KEY")
        certificate, comma, key = files.partition(",")
        if not comma or not key:
            raise UsageError(f"--registry-client-cert {text} names no key", hint="write HOST=CERTIFICATE,KEY")
        pair = (_existing(certificate, "--registry-client-cert"), _existing(key, "--registry-client-cert"))
        before = found.get(host, Files())
        found[host] = before._replace(pairs=(*before.pairs, pair))
    return found


def _pair(text: str, option: str, form: str) -> tuple[str, str]:
    host, equals, value = text.partition("=")
    if not equals or not host or not value:
        raise UsageError(f"{option} {text} names no file", hint=f"write it as {form}")
    return _registry(host), value


def _existing(path: str, option: str) -> str:
    if not os.path.isfile(path):
        raise UsageError(f"{option}: there is no file {path}")
    return path


def _further_cas(directory: str) -> list[str]:
    """Give the files of CAs that were put where kaniko looks for them."""
    folder = os.path.join(directory, "ssl/certs")
    if not os.path.isdir(folder):
        return []
    found = (os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith((".crt", ".pem")))
    return [path for path in found if os.path.isfile(path)]


def _helpers(given: Sequence[str]) -> tuple[str, ...]:
    for name in given:
        if name and name not in automatic.NAMES:
            from buildah_py.suggest import did_you_mean

            hint = did_you_mean(name, automatic.NAMES) or f"there are {', '.join(automatic.NAMES)}"
            raise UsageError(f"--credential-helpers: there is no {name}", hint=hint)
    return tuple(filter(None, given)) if given else automatic.NAMES


def _retries(args: argparse.Namespace) -> int:
    found = 0
    for option, text in (("--push-retry", args.push_retry), ("--image-download-retry", args.image_download_retry)):
        if not 0 <= decimal(text) <= _MOST_RETRIES:
            raise UsageError(f"{option} {text} is not a number of times", hint=f"from 0 to {_MOST_RETRIES}")
        found = max(found, decimal(text))
    return found
