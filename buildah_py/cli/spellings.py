"""Options of `docker buildx build` and `buildah build` that say in other words what options of ours say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from buildah_py.cli import signing
from buildah_py.cli.arguments import key_values
from buildah_py.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from buildah_py.cli.arguments import Parser

_PERIOD: Final = 100_000
"""Microseconds: the kernel's and docker's period where none is given."""
_RESOURCES: Final = ("memory", "memory-swap", "cpu-shares", "cpu-period", "cpu-quota", "cpuset-cpus")
_WHOLE: Final = ("cpu-shares", "cpu-period", "cpu-quota")


def declare(parser: Parser) -> None:
    """Declare the options."""
    add = parser.add_argument_group("other spellings").add_argument
    add("--os", metavar="OS", default="", help="part of --platform")
    add("--arch", metavar="ARCH", default="", help="part of --platform")
    add("--variant", metavar="VARIANT", default="", help="part of --platform")
    add("--build-arg-file", metavar="FILE", action="append", default=[], help="lines such as K=V; --build-arg wins")
    add("--resource", metavar="K=V", action="append", default=[], help=f"limit of containers: {', '.join(_RESOURCES)}")
    add("--cpu-period", metavar="MICROSECONDS", type=int, default=0, help="see --cpu-quota")
    add("--cpu-quota", metavar="MICROSECONDS", type=int, default=0, help="CPU time in each period; --cpus says both")
    add("--http-proxy", action="store_true", help="hand the proxies of this environment to RUN steps")
    add("--iidfile-raw", metavar="FILE", help="write the image's id to FILE, without `sha256:`")
    if not parser.knows("--format"):  # as `why` does, which writes nothing out
        add("--format", choices=("oci", "docker"), default="", help="media types of all that is written out")
    add(
        "--attest",
        metavar="SPEC",
        action="append",
        default=[],
        help="attest something of the image: type=provenance,mode=max or type=sbom; may be repeated",
    )
    add(
        "--provenance", metavar="SPEC", default="", help="true, false, min, max, or attributes: how the image was built"
    )
    add("--sbom", metavar="SPEC", default="", help="true, false, or such as format=cyclonedx: what is in the image")
    parser.bare |= {"--provenance": "true", "--sbom": "true"}
    add("--sign", metavar="FILE", default="", help=signing.HELP)
    add("--source-policy-file", metavar="FILE", default="", help="JSON file of rules for what a build may use")
    add("--compression-format", metavar="FORMAT", default="", help="compression of all that is written out")
    add("--compression-level", metavar="LEVEL", type=int, default=None, help="its level")
    add("--force-compression", action="store_true", help="for layers of the base image too")
    parser.set_defaults(settle=settle)


def settle(args: argparse.Namespace) -> None:
    """Say with our options what these say. Raises UsageError."""
    for text in args.resource:
        _set_resource(args, text)
    if args.cpu_period and not args.cpu_quota:
        raise UsageError("--cpu-period alone limits nothing", hint="give --cpu-quota too, or --cpus")
    if args.cpu_quota:
        if args.cpus:
            raise UsageError("--cpus and --cpu-quota both limit CPU time", hint="give one of them")
        if args.cpu_quota < 0 or args.cpu_period < 0:
            raise UsageError("--cpu-quota and --cpu-period are microseconds")
        args.cpus = args.cpu_quota / (args.cpu_period or _PERIOD)
    _settle_platform(args)
    lines = [line for path in args.build_arg_file for line in _lines(path)]
    args.build_arg = [*lines, *args.build_arg]
    if args.http_proxy:
        from buildah_py.buildfile.variables import PROXY_NAMES

        args.build_arg = [*(name for name in sorted(PROXY_NAMES) if name in os.environ), *args.build_arg]
    # They have been said: what is settled twice is the same.
    args.resource, args.build_arg_file, args.http_proxy, args.cpu_quota, args.cpu_period = [], [], False, 0, 0


def _set_resource(args: argparse.Namespace, text: str) -> None:
    for name, value in key_values(text.split(","), "--resource").items():
        if name not in _RESOURCES:
            from buildah_py.suggest import did_you_mean

            hint = did_you_mean(name, _RESOURCES) or f"there are {', '.join(_RESOURCES)}"
            raise UsageError(f"--resource {text}: there is no limit {name}", hint=hint)
        if name in _WHOLE and not value.removeprefix("-").isdecimal():
            raise UsageError(f"--resource {text}: {value} is not a number")
        setattr(args, name.replace("-", "_"), int(value) if name in _WHOLE else value)


def _settle_platform(args: argparse.Namespace) -> None:
    if not (args.os or args.arch or args.variant):
        return
    if args.platform:
        raise UsageError("--platform says what --os, --arch and --variant say", hint="leave either of them out")
    from buildah_py.image import platform as platforms

    host = platforms.host()
    variant = args.variant or ("" if args.arch else host.variant)
    args.platform = str(platforms.Platform(args.os or host.os, args.arch or host.architecture, variant).normalised())
    args.os = args.arch = args.variant = ""


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(f"--build-arg-file {path} cannot be read: {error}") from error
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
