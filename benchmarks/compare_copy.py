#!/usr/bin/env python3
"""Build a thousand COPYs and ADDs with several builders, and compare what is in the images, path by path.

    scripts/compare_copy.py --work DIR --builder 'docker=docker buildx build' --builder 'buildah=buildah build ...'

Each builder is NAME=COMMAND; the command takes `-f FILE`, `-o type=tar,dest=FILE` and a context. The first one is what
pybuild is held against. Needs root, for contexts with devices. Exits with 1 where pybuild and the first builder differ.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from compare_copy_cases import STATE, Case, cases, make_context

# What is known to differ from BuildKit, with the reason: (cases, what the lines of the report say, reason).
KNOWN = (
    ("odd-", r"/block kind", "BuildKit makes character devices of block devices"),
    ("odd-", r"/socket|^fails . fine$", "BuildKit makes files of sockets, and whiteouts of names that begin with .wh."),
    (
        "odd-|names-",
        r"^fine . fails$",
        "names with backslashes, newlines and bytes that are no text are copied as well",
    ),
    ("odd-", r"security.capability", "BuildKit loses file capabilities of contexts"),
    ("chmod-", r"^/n mode: 0777 . 0755$", "a daemon's umask has a say in BuildKit"),
    ("chown-1[1-7]", r"", "owners that nobody knows are refused, where BuildKit takes root"),
    ("exclude-|unpack-more-7|random-", r"absent . ", "--exclude holds for what a pattern names, as the reference says"),
    ("other-", r"^fine . fails$", "--link --chown=NAME looks the name up in the image"),
    ("random-", r"^fine . fails$", "a pattern that matches nothing is no error, wherever it looks"),
    ("archive-packed.tar.xz", r"", "xz needs no program here"),
    ("archive-through", r"^fine . fails$", "links of archives stay inside"),
    ("archive-whiteout", r"^fails . fine$", "names that begin with .wh. are refused"),
    ("parents-|stage-(29|30)", r"^fine . fails$", "--parents is newer than some BuildKits"),
)
MADE = 1_600_000_000  # whatever is younger was made by a build
Files = dict[str, dict[str, Any]]


class Built:
    """What a builder made of a case: files by path, or what it said when it failed."""

    def __init__(self, files: Files | None, message: str) -> None:
        self.files = files
        self.message = message


def read_tar(path: Path, *, times: bool) -> Files:
    """Read a file system that was written as a tar: what can be compared of each entry."""
    found: Files = {}
    groups: dict[str, list[str]] = {}
    kinds = {b"0": "file", b"1": "hard", b"2": "symlink", b"3": "char", b"4": "block", b"5": "dir", b"6": "fifo"}
    with tarfile.open(path) as tar:
        for member in tar:
            name = os.path.normpath("/" + member.name)
            kind = kinds[member.type]
            if kind == "hard":
                first = os.path.normpath("/" + member.linkname)
                groups.setdefault(first, [first]).append(name)
                found[name] = dict(found[first])
                continue
            entry: dict[str, Any] = {"kind": kind, "uid": member.uid, "gid": member.gid}
            if kind != "symlink":
                entry["mode"] = f"{member.mode & 0o7777:04o}"
            if kind == "file":
                data = tar.extractfile(member)
                assert data is not None
                entry["size"] = member.size
                entry["digest"] = hashlib.sha256(data.read()).hexdigest()[:16]
            if kind == "symlink":
                entry["link"] = member.linkname
            if kind in ("char", "block"):
                entry["device"] = f"{member.devmajor}:{member.devminor}"
            if times and kind != "dir":
                entry["mtime"] = int(member.mtime) if member.mtime < MADE else "now"
            xattrs = {
                key.removeprefix("SCHILY.xattr."): value.encode("utf-8", "surrogateescape").hex()
                for key, value in member.pax_headers.items()
                if key.startswith("SCHILY.xattr.")
            }
            if xattrs:
                entry["xattrs"] = xattrs
            found[name] = entry
    for names in groups.values():
        for name in names:
            found[name]["names"] = sorted(names)
    found.pop("/", None)
    return found


def build(command: str, case: Case, work: Path, name: str, *, times: bool) -> Built:
    """Build a case."""
    tar = work / f"{case.name}.{name}.tar"
    file = work / f"{case.name}.{name}.Dockerfile"
    file.write_text(case.text)
    if case.ignore is not None:
        file.with_name(file.name + ".dockerignore").write_text(case.ignore, newline="")
    arguments = [
        *shlex.split(command),
        "-f",
        str(file),
        "-o",
        f"type=tar,dest={tar}",
        str(work / "contexts" / case.context),
    ]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    message = done.stdout.decode("utf-8", "replace")
    try:
        if done.returncode:
            return Built(None, message)
        return Built(read_tar(tar, times=times), message)
    finally:
        for path in (tar, file, file.with_name(file.name + ".dockerignore")):
            path.unlink(missing_ok=True)


def differences(one: Built, other: Built) -> list[str]:
    """Say in what two results differ, a line for each."""
    if one.files is None or other.files is None:
        if (one.files is None) == (other.files is None):
            return []
        return ["fails | fine" if one.files is None else "fine | fails"]
    lines = []
    for path in sorted(one.files.keys() | other.files.keys()):
        mine, theirs = one.files.get(path), other.files.get(path)
        if mine is None or theirs is None:
            lines.append(f"{path}: {_short(mine)} | {_short(theirs)}")
            continue
        lines += [
            f"{path} {key}: {mine.get(key)} | {theirs.get(key)}"
            for key in sorted(mine.keys() | theirs.keys())
            if mine.get(key) != theirs.get(key)
        ]
    return lines


def is_known(name: str, line: str) -> bool:
    """Whether a difference has a reason."""
    return any(re.match(cases, name) and re.search(text, line) for cases, text, _ in KNOWN)


def _short(entry: dict[str, Any] | None) -> str:
    if entry is None:
        return "absent"
    return " ".join(str(entry[key]) for key in ("kind", "mode", "uid", "gid", "size", "link") if key in entry)


def last_line(message: str) -> str:
    """Give the line of a builder's output that says what was wrong."""
    lines = [line for line in message.splitlines() if line.strip()]
    for line in reversed(lines):
        if line.lower().startswith(("error", "pybuild:")):
            return line[:300]
    return lines[-1][:300] if lines else ""


def main() -> int:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--work", type=Path, required=True, help="directory for contexts and results, seen by all builders"
    )
    parser.add_argument("--pybuild", default=f"{sys.executable} -m buildah_py build --progress plain")
    parser.add_argument("--builder", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--only", default="", help="only cases whose names begin so; several with commas")
    parser.add_argument("--json", type=Path, help="write all that differs to this file")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--times", action="store_true", help="compare modification times too, of all but directories")
    options = parser.parse_args()
    builders = {"pybuild": options.pybuild} | dict(spec.split("=", 1) for spec in options.builder)
    chosen = [case for case in cases() if case.name.startswith(tuple(options.only.split(",")))]
    for context in {case.context for case in chosen}:
        if not (options.work / "contexts" / context).exists():
            make_context(context, options.work / "contexts" / context)
    reference = next(name for name in builders if name != "pybuild")
    counts = {name: [0, 0, 0] for name in builders if name != "pybuild"}
    report = []

    def one(case: Case) -> tuple[Case, dict[str, Built]]:
        return case, {
            name: build(command, case, options.work, name, times=options.times) for name, command in builders.items()
        }

    with ThreadPoolExecutor(options.jobs) as pool:
        for case, results in pool.map(one, chosen):
            mine = results["pybuild"]
            found = {name: differences(mine, other) for name, other in results.items() if name != "pybuild"}
            for name, lines in found.items():
                if (
                    name == reference
                    and (unknown := [line for line in lines if not is_known(case.name, line)]) != lines
                ):
                    counts[name][2 if not unknown else 1] += 1
                    found[name] = unknown
                else:
                    counts[name][bool(lines)] += 1
            if any(found.values()):
                messages = {name: last_line(result.message) for name, result in results.items() if result.files is None}
                report.append({"case": case._asdict(), "differs": found, "messages": messages})
            if found[reference]:
                text = case.text.removeprefix("FROM scratch\n").removeprefix(STATE).strip()
                print(f"== {case.name}: {text!r}" + (f" with {case.ignore!r}" if case.ignore is not None else ""))
                print("   " + "\n   ".join(found[reference][:8]))
                for name, result in results.items():
                    if result.files is None:
                        print(f"   ({name}: {last_line(result.message)})")
                others = [name for name, lines in found.items() if name != reference and not lines]
                if others:
                    print(f"   (as pybuild: {', '.join(others)})")
    for name, (same, different, known) in counts.items():
        print(f"{name}: {same} the same, {different} different" + (f", {known} as is known" if known else ""))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))
    return 1 if counts[reference][1] else 0


if __name__ == "__main__":
    sys.exit(main())
