"""Without root, or the right to mount: the whole program enters a user namespace, where it is root, and starts again.

With subordinate ids (/etc/subuid, newuidmap) every id of an image exists there; with none only one does, which is
enough for images whose commands all run as root. The process stays the same one, so signals and exit statuses need no
passing on.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

from buildah_py import debug
from buildah_py.errors import SandboxError
from buildah_py.image.numbers import decimal
from buildah_py.linux import namespaces
from buildah_py.linux.identity import LAST, MARKER, id_ranges, may_map_ids
from buildah_py.linux.programs import find_tool
from buildah_py.sandbox.rungs import WITHOUT_CONTAINER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TOOLS = ("newuidmap", "newgidmap")
_FILES = ("/etc/subuid", "/etc/subgid")
_HINT = (
    "user namespaces may be switched off: see the sysctls user.max_user_namespaces, kernel.unprivileged_userns_clone"
    " and kernel.apparmor_restrict_unprivileged_userns; `pybuild doctor` tells which"
)


def subordinate_ids(path: str, user: int, name: str) -> list[tuple[int, int]]:
    """Read a user's ranges (first id, how many) from /etc/subuid or /etc/subgid."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            fields = [line.strip().split(":") for line in file]
    except FileNotFoundError:
        return []
    mine = [words for words in fields if len(words) == 3 and words[0] in {name, str(user)}]
    return [(int(start), int(count)) for _, start, count in mine if decimal(start) >= 0 and decimal(count) > 0]


def mapping_places(environ: Mapping[str, str]) -> Iterator[str]:
    """Give the files that decide which ids a user has in a namespace of his own, also where they are not there."""
    yield from ("/etc/passwd", *_FILES)
    for tool in TOOLS:
        for directory in environ.get("PATH", os.defpath).split(":"):
            path = os.path.realpath(f"{directory}/{tool}")
            yield path
            if os.access(path, os.X_OK):
                break


def id_map(own: int, ranges: Sequence[tuple[int, int]]) -> list[str]:
    """Give the words that newuidmap takes: 0 is ourselves, 1 and up are the ranges."""
    words = ["0", str(own), "1"]
    inside = 1
    for start, count in ranges:
        words += [str(inside), str(start), str(count)]
        inside += count
    return words


def enter_where_wanted(argv: Sequence[str], env: Mapping[str, str], isolation: str) -> None:
    """Enter a user namespace and execute `argv` there, unless steps take none; return where it is refused.

    Who may neither mount nor enter one can do all that takes no container.
    """
    if isolation in WITHOUT_CONTAINER:
        return
    debug.log("entering a user namespace")
    before = id_ranges()
    try:
        reexec_in_user_namespace(argv, env)
    except SandboxError as error:
        if id_ranges() != before:  # it was entered, and nobody exists in there
            raise
        debug.log("no user namespace: %s", error.message)


def reexec_in_user_namespace(argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Enter a user and a mount namespace and execute `argv` there, with MARKER in its environment.

    To be called before there are threads. Raises SandboxError where user namespaces are not allowed.
    """
    uid, gid = os.geteuid(), os.getegid()
    commands = [] if may_map_ids() else _mapping_commands(uid, gid, env.get("PATH", os.defpath))
    by_others = bool(commands) or may_map_ids()
    reading, writing = os.pipe()
    ourselves = os.getpid()
    mapper = os.fork() if by_others else 0
    if by_others and mapper == 0:
        os.close(writing)
        _write_maps(commands, ourselves, reading)
    try:
        namespaces.unshare(namespaces.CLONE_NEWUSER | namespaces.CLONE_NEWNS)
    except OSError as error:
        os.close(writing)
        if mapper:
            os.waitpid(mapper, 0)
        from buildah_py.sandbox.place import who_refuses_namespaces

        refusal = who_refuses_namespaces()
        raise SandboxError(
            f"cannot enter a user namespace: {error.strerror}: {refusal.who} refuses it",
            hint=f"{refusal.remedy} allows it; no container can be made without, but all that takes none works",
        ) from None
    finally:
        os.close(reading)
    full = False
    if by_others:
        os.write(writing, b"1")
        full = os.waitpid(mapper, 0)[1] == 0
    os.close(writing)
    if full:
        os.setgroups([])
    else:
        _map_ourselves(uid, gid)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    os.execve(argv[0], list(argv), {**env, MARKER: "full" if full else "single"})  # noqa: S606


def _map_ourselves(uid: int, gid: int) -> None:
    for file, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        try:
            with open(f"/proc/self/{file}", "w", encoding="ascii") as out:
                out.write(text)
        except OSError as error:
            raise SandboxError(
                f"the ids {uid}:{gid} cannot be mapped in a user namespace: /proc/self/{file}: {error.strerror}",
                # user_namespaces(7): id 0 is mapped for those alone who had CAP_SETFCAP
                hint=_HINT if uid else "a root needs CAP_SETFCAP for that; any other user needs nothing",
            ) from None


def _mapping_commands(uid: int, gid: int, path: str) -> list[list[str]]:
    """Give the two commands that map subordinate ids, without their process id; none where there are no such ids."""
    import pwd

    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = ""
    commands = []
    for tool, file, own in zip(TOOLS, _FILES, (uid, gid), strict=True):
        ranges = subordinate_ids(file, uid, name)
        place = find_tool(tool, path)
        if not ranges or not place:
            return []
        commands.append([place, *id_map(own, ranges)])
    return commands


def _write_maps(commands: list[list[str]], target: int, ready: int) -> NoReturn:
    """Map the ids of the process `target` from outside its namespace, once it says that it is there.

    Without commands, which map subordinate ids, it gets all that exist here.
    """
    try:
        # All but the last of all: else nobody could tell the namespace from the machine's first.
        ranges = [(inside, min(count, LAST - inside)) for inside, _, count in id_ranges()]
        ids = "".join(f"{inside} {inside} {count}\n" for inside, count in ranges)
        if os.read(ready, 1):
            for tool, *words in commands:
                pid = os.posix_spawn(tool, [tool, str(target), *words], {})
                if os.waitpid(pid, 0)[1]:
                    os._exit(1)
            for file in () if commands else ("uid_map", "gid_map"):
                with open(f"/proc/{target}/{file}", "w", encoding="ascii") as out:
                    out.write(ids)
            os._exit(0)
    finally:
        os._exit(1)
