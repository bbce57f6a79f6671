"""`pybuild buildx imagetools`: images of registries, put together or looked at."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from buildah_py.cli import registry
from buildah_py.cli.arguments import key_values
from buildah_py.cli.printing import complain, say, say_exactly
from buildah_py.errors import UsageError
from buildah_py.image import numbers

if TYPE_CHECKING:
    import argparse

    from buildah_py.registry import RawManifest


def create(args: argparse.Namespace) -> int:
    """Put images of registries together under the names that are given, or print what would be pushed."""
    from buildah_py.cli.outputs import write_whole
    from buildah_py.cli.stores import open_store
    from buildah_py.image import reference as references
    from buildah_py.image.platform import asked_for
    from buildah_py.transfer.imagetools import combine, existing, find_sources, push_combined
    from buildah_py.transfer.provider import Registries

    if not args.tag and not args.dry_run:
        raise UsageError("say what it is to be called", hint="-t NAME, or --dry-run to see what would come of it")
    if args.append and not args.tag:
        raise UsageError("--append adds to a name", hint="-t NAME")
    prefer_index = numbers.boolean(args.prefer_index.lower())
    if prefer_index is None:
        raise UsageError(f"--prefer-index={args.prefer_index} is neither true nor false")
    annotations = _annotations(args.annotation)
    platforms = [asked_for(one) for text in args.platform for one in text.split(",")]
    with Registries(options=lambda: registry.read(args)) as registries:
        client = registries.registry()
        sources = [*args.sources, *(line for path in args.file for line in _lines(path))]
        if args.append:
            sources = [*existing(client, args.tag[0]), *sources]
        made = combine(
            client, find_sources(client, sources, args.tag), annotations, prefer_index=prefer_index, platforms=platforms
        )
        if args.dry_run:
            say_exactly(made.data.decode("utf-8", "backslashreplace"))
            return 0
        with open_store(registries) as store:
            for name in args.tag:
                pushed = push_combined(store, client, made, name)
                complain(f"pushed {references.parse(name).with_default_tag().familiar}@{pushed.digest}")
    if args.metadata_file:
        told = {
            "containerimage.descriptor": pushed.to_dict(),
            "image.name": ",".join(references.parse(name).with_default_tag().full for name in args.tag),
        }
        write_whole(args.metadata_file, json.dumps(told, indent=2).encode() + b"\n")
    return 0


def inspect(args: argparse.Namespace) -> int:
    """Show what a registry has under a name."""
    from buildah_py.image import reference as references
    from buildah_py.transfer.imagetools import describe
    from buildah_py.transfer.provider import Registries

    with Registries(options=lambda: registry.read(args)) as registries:
        raw, configs = describe(registries.registry(), args.name)
        if args.raw:
            sys.stdout.flush()
            sys.stdout.buffer.write(raw.data)
            return 0
        name = references.parse(args.name).with_default_tag().full
        if args.format:
            from buildah_py.cli.template import render

            manifest = {**json.loads(raw.data), **_own(raw)}
            facts: dict[str, Any] = {"Name": name, "Manifest": {**manifest, **_go_names(manifest)}}
            if ".Image" in args.format or args.format in ("json", "{{json .}}"):
                facts["Image"] = configs()
            shown = "{{json .}}" if args.format == "json" else args.format
            if "json .Manifest" in shown or shown == "{{json .}}":
                facts["Manifest"] = manifest
                facts = {key.lower(): value for key, value in facts.items()} if shown == "{{json .}}" else facts
            say_exactly(render(shown, facts))
            return 0
    say(_shown(name, raw))
    return 0


def _own(raw: RawManifest) -> dict[str, Any]:
    found = raw.descriptor
    return {"mediaType": found.media_type, "digest": found.digest, "size": found.size}


def _go_names(manifest: dict[str, Any]) -> dict[str, Any]:
    """Give the fields that templates name as Go does."""
    found = {"MediaType": manifest["mediaType"], "Digest": manifest["digest"], "Size": manifest["size"]}
    children = manifest.get("manifests")
    if isinstance(children, list):
        found["Manifests"] = [{key[0].upper() + key[1:]: value for key, value in one.items()} for one in children]
    return found


def _shown(name: str, raw: RawManifest) -> str:
    from buildah_py.image import index as indexes
    from buildah_py.image import media_types

    found = raw.descriptor
    lines = [f"Name:      {name}", f"MediaType: {found.media_type}", f"Digest:    {found.digest}"]
    if found.media_type not in media_types.INDEXES:
        return "\n".join(lines)
    repository = name.partition("@")[0].rpartition(":")[0]
    lines += ["", "Manifests: "]
    for child in indexes.from_bytes(raw.data, media_type=found.media_type, what=name).manifests:
        lines += [f"  Name:        {repository}@{child.digest}", f"  MediaType:   {child.media_type}"]
        if child.platform is not None:
            lines.append(f"  Platform:    {child.platform}")
        if child.annotations:
            lines.append("  Annotations: ")
            lines += [f"    {key}: {value}" for key, value in sorted(child.annotations.items())]
        lines.append("")
    return "\n".join(lines).rstrip()


def _annotations(texts: list[str]) -> dict[str, str]:
    """Read annotations, of the index alone. Raises UsageError."""
    bare = []
    for text in texts:
        level, colon, rest = text.partition(":")
        if colon and "=" not in level and level not in ("index", ""):
            raise UsageError(f"--annotation {text}: only the index is made here", hint=f"write index:{rest}")
        bare.append(rest if colon and "=" not in level else text)
    return key_values(bare, "--annotation")


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return [line.strip() for line in file if line.strip()]
    except (OSError, ValueError) as error:
        raise UsageError(f"--file {path} cannot be read: {error}") from error
