"""pybuild doctor: what this machine allows, what is missing, and what to do; each line is found out by doing it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.cli.printing import say, say_data

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from buildah_py.sandbox.idmap import Ranges
    from buildah_py.sandbox.place import Shortfall


class Diagnosis(NamedTuple):
    """One line: what was tried, whether it works, what was found, and what to do if it is to work."""

    subject: str
    works: bool
    found: str
    remedy: str = ""
    needed: bool = True


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: %(default)s")
    parser.add_argument("--json", action="store_const", const="json", dest="format", help="the same as --format=json")


def run(args: argparse.Namespace) -> int:
    """Print the findings; 0 when RUN steps can be executed, 1 when not."""
    from buildah_py.errors import SandboxError
    from buildah_py.linux.identity import needs_user_namespace
    from buildah_py.sandbox import rungs, userns

    if needs_user_namespace(os.environ):
        # The checks without root can only be made from inside: from here on this is a new program.
        from buildah_py.cli import own_command

        try:
            userns.reexec_in_user_namespace(own_command(sys.argv[1:]), os.environ)
        except SandboxError as error:
            placed = list(_in_place())
            asked = os.environ.get("BUILDAH_ISOLATION") == rungs.IN_PLACE
            without = placed if asked else [*_below_proot(), *(() if os.geteuid() else placed)]
            works = placed[-1].works if asked else without[0].works
            refused = Diagnosis("user namespace", False, error.message, error.hint, needed=not works)
            return _report([_python(), refused, *without], json=args.format == "json")
    return _report(list(examine()), json=args.format == "json")


def examine() -> Iterator[Diagnosis]:
    """Try everything that a build may need."""
    yield _python()
    yield from _identity()
    yield from _kernel()
    yield from _container()
    yield _observing()
    yield _network()
    yield from _user_namespaces()
    yield _seccomp()
    yield _cgroups()
    yield _emulators()
    yield from _programs()


def _report(findings: list[Diagnosis], *, json: bool) -> int:
    if json:
        say_data([finding._asdict() for finding in findings])
    else:
        width = max(len(finding.subject) for finding in findings)
        for finding in findings:
            mark = "ok  " if finding.works else "FAIL" if finding.needed else "--  "
            say(f"{mark} {finding.subject:<{width}}  {finding.found}")
            if finding.remedy and not finding.works:
                say(f"     {'':<{width}}  -> {finding.remedy}")
    return 0 if all(finding.works or not finding.needed for finding in findings) else 1


def _python() -> Diagnosis:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Diagnosis("Python", sys.version_info >= (3, 11), version, "install Python 3.11 or newer")


def _identity() -> Iterator[Diagnosis]:
    from buildah_py.linux.identity import MARKER, outer_uid

    marker = os.environ.get(MARKER, "")
    if not marker:
        yield Diagnosis("privileges", True, "root")
        return
    who = "an ordinary user" if outer_uid() else "a root who may mount nothing (no CAP_SYS_ADMIN)"
    yield Diagnosis("privileges", True, f"{who}, in a user namespace")
    yield _subordinate_ids(marker)


_USUAL_IDS = 65_536


def _subordinate_ids(marker: str) -> Diagnosis:
    import pwd

    from buildah_py.layers.owner import count_ids
    from buildah_py.linux.identity import outer_uid
    from buildah_py.linux.programs import find_tool
    from buildah_py.sandbox.userns import TOOLS, subordinate_ids

    if marker == "full":
        many = count_ids()
        found = f"{many} ids" + (
            "" if many >= _USUAL_IDS else f"; images use up to {_USUAL_IDS}, and apt the last but one"
        )
        remedy = "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER"
        return Diagnosis("subordinate ids", many >= _USUAL_IDS, found, remedy, needed=False)
    found = "none: every file belongs to root, other users cannot be switched to"
    user = outer_uid()
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:
        name = ""
    tools = [find_tool(tool, os.environ.get("PATH", os.defpath)) for tool in TOOLS]
    if not all(tools):
        remedy = "install uidmap"
    elif all(subordinate_ids(file, user, name) for file in ("/etc/subuid", "/etc/subgid")):
        found = f"there are some, and {tools[0]} cannot map them: every file belongs to root"
        remedy = f"as root: chmod u+s {' '.join(tools)} (or give them the capabilities setuid and setgid); no ids twice"
    else:
        remedy = "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER"
    return Diagnosis("subordinate ids", False, found, remedy, needed=False)


def _emulators() -> Diagnosis:
    from buildah_py.linux import binfmt
    from buildah_py.linux.identity import MARKER

    found = binfmt.emulated()
    if found:
        return Diagnosis("other platforms", True, f"emulated: {', '.join(found)}")
    remedy = "as root: apt-get install qemu-user-static binfmt-support"
    if not any(binfmt.find_emulator(name, os.environ.get("PATH", os.defpath)) for name in ("arm64", "amd64")):
        return Diagnosis("other platforms", False, "no emulator runs their commands", remedy, needed=False)
    if MARKER in os.environ:
        return Diagnosis("other platforms", True, "emulators are installed, and registered when they are needed")
    return Diagnosis(
        "other platforms",
        False,
        "emulators are installed, and not registered",
        "`systemctl restart systemd-binfmt`, or `update-binfmts --enable`",
        needed=False,
    )


def _kernel() -> Iterator[Diagnosis]:
    from buildah_py.linux import mounts

    release = os.uname().release
    try:
        os.close(mounts.fsopen("overlay"))
    except OSError as error:
        yield Diagnosis("overlay", False, f"Linux {release}: {error.strerror}", "modprobe overlay; Linux 5.12 or newer")
    else:
        yield Diagnosis("overlay", True, f"Linux {release}")


def _container() -> Iterator[Diagnosis]:
    """Try a container where the store is, or would be, and say which rung it stands on."""
    from buildah_py.api.state import own_root
    from buildah_py.errors import SandboxError
    from buildah_py.sandbox import place, rungs

    shortfalls: list[place.Shortfall] = []
    try:
        status = _try_container("none", inside=place.existing(own_root()), shortfalls=shortfalls)
    except SandboxError as error:
        yield Diagnosis("container", False, error.message, error.hint or "see the kernel's log (dmesg)")
        return
    works = "namespaces, overlay, /proc, /dev and pivot_root work"
    yield Diagnosis("container", status == _NO_COMMAND, "namespaces and /dev work" if shortfalls else works)
    if not shortfalls:
        yield Diagnosis("isolation", True, f"{rungs.FULL}: nothing is left out")
    for one in shortfalls:
        yield Diagnosis("isolation", False, f"{rungs.NESTED}: {one.what}: {one.instead}", one.remedy, needed=False)


def _below_proot() -> Iterator[Diagnosis]:
    """Try a command below proot, where the store is, and say what it does without."""
    from buildah_py.api.state import own_root
    from buildah_py.errors import SandboxError
    from buildah_py.sandbox import place, rungs

    try:
        status = _try_container("host", inside=place.existing(own_root()), isolation=rungs.PROOT)
    except SandboxError as error:
        yield Diagnosis(rungs.PROOT, False, error.message, error.hint)
        return
    if status != _NO_COMMAND:
        refusal = place.who_refuses_tracing()
        yield Diagnosis(rungs.PROOT, False, f"{refusal.who} refuses tracing, or proot fails", refusal.remedy)
        return
    yield Diagnosis(rungs.PROOT, True, f"commands run below {rungs.find_proot(os.environ.get('PATH', os.defpath))}")
    less = place.NO_ROOT
    yield Diagnosis("isolation", False, f"{rungs.PROOT}: {less.what}: {less.instead}", less.remedy, needed=False)


def _in_place() -> Iterator[Diagnosis]:
    """Say whether commands can do without a container here, and what they do without then. Nothing is changed."""
    from buildah_py.api.state import own_root
    from buildah_py.errors import SandboxError
    from buildah_py.sandbox import place, rungs
    from buildah_py.sandbox.replaceable import refuse_where_impossible

    asked = os.environ.get("BUILDAH_ISOLATION") == rungs.IN_PLACE
    try:
        refuse_where_impossible((own_root(),), os.environ)
    except SandboxError as error:
        yield Diagnosis("in place", False, error.message, error.hint, needed=False)
        return
    around = place.ROOT_AROUND
    yield Diagnosis("isolation", False, f"{rungs.IN_PLACE}: {around.instead}", around.remedy, needed=False)
    found = "commands can run in this root" + ("" if asked else f", where --isolation={rungs.IN_PLACE} asks for it")
    yield Diagnosis("in place", True, found)


def _observing() -> Diagnosis:
    from buildah_py.sandbox import fuse

    subject, remedy = "observing", "modprobe fuse, and let everybody read and write /dev/fuse, as udev does"
    try:
        device = os.open(fuse.DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return Diagnosis(subject, False, f"{fuse.DEVICE}: {error.strerror}", remedy, needed=False)
    try:
        os.close(fuse.mount(device))
    except OSError as error:
        return Diagnosis(subject, False, f"a file system over {fuse.DEVICE}: {error.strerror}", remedy, needed=False)
    finally:
        os.close(device)
    return Diagnosis(subject, True, "what steps read of copied files is noted")


_NO_COMMAND = 127


def _try_container(
    network: str,
    *,
    uids: Ranges = (),
    gids: Ranges = (),
    inside: str | None = None,
    shortfalls: list[Shortfall] | None = None,
    isolation: str = "container",
) -> int:
    """Run a container from scratch: that its only command is missing says that all before it went well.

    Its layers are made in the directory `inside`. What makes it less than full isolation is added to `shortfalls`.
    """
    import tempfile

    from buildah_py.sandbox import ContainerSpec, Sandbox

    with tempfile.TemporaryDirectory(prefix="pybuild-doctor-", dir=inside) as place:
        for name in ("upper", "work", "init"):
            os.mkdir(f"{place}/{name}")
        spec = ContainerSpec(
            lowers=(),
            upper=f"{place}/upper",
            work=f"{place}/work",
            init=f"{place}/init",
            argv=("/nothing",),
            network=network,
            uid_map=uids,
            gid_map=gids,
            isolation=isolation,
        )
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            with Sandbox(place, path=os.environ.get("PATH", os.defpath)) as sandbox:
                container = sandbox.start_container(spec, stdout=null, stderr=null)
                status = container.wait().status
        finally:
            os.close(null)
        if shortfalls is not None:
            shortfalls += container.shortfalls
        warnings = [text for text in container.warnings if text not in map(str, container.shortfalls)]
        if warnings:
            from buildah_py.errors import SandboxError

            raise SandboxError(warnings[0])
        return status


def _network() -> Diagnosis:
    from buildah_py.errors import SandboxError
    from buildah_py.linux.identity import MARKER

    unprivileged = bool(os.environ.get(MARKER))
    remedy = (
        "install passt (or slirp4netns); as root: modprobe tun; chmod 666 /dev/net/tun"
        if unprivileged
        else "modprobe bridge veth nf_tables nft_masq; or build with --network=host"
    )
    try:
        _try_container("default")
    except SandboxError as error:
        return Diagnosis("network", False, error.message, remedy, needed=False)
    return Diagnosis(
        "network", True, "pasta or slirp4netns" if unprivileged else "bridge, veth and address translation"
    )


def _user_namespaces() -> Iterator[Diagnosis]:
    """Try what --userns=auto does, on the file system of the store; without root every container has one anyway."""
    from buildah_py.api.state import own_root
    from buildah_py.cli.userns import held
    from buildah_py.errors import SandboxError
    from buildah_py.linux.identity import MARKER

    if os.environ.get(MARKER):
        return
    root = own_root()
    try:
        uids, gids = held("/etc/subuid"), held("/etc/subgid")
        _try_container("none", uids=uids, gids=gids, inside=root if os.path.isdir(root) else None)
    except SandboxError as error:
        yield Diagnosis("--userns", False, error.message, error.hint, needed=False)
    else:
        yield Diagnosis("--userns", True, f"ids {uids[0][1]} and up stand for those of containers")


def _seccomp() -> Diagnosis:
    from buildah_py.sandbox import capabilities, seccomp

    try:
        program = seccomp.compile_filter(capabilities.DEFAULT)
    except seccomp.UnavailableError as error:
        return Diagnosis("seccomp", False, str(error), "install libseccomp2", needed=False)
    return Diagnosis("seccomp", True, f"a filter of {len(program) // 8} instructions")


def _cgroups() -> Diagnosis:
    from buildah_py.sandbox import cgroups

    limits = {"memory": 1 << 30, "memory_swap": 0, "cpus": 0, "cpu_shares": 0, "cpuset_cpus": "", "pids": 100}
    try:
        cgroups.Group({**limits, "cgroup_parent": ""}, cgroups.name_of(os.getpid(), 0)).remove()
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        found = f"limits such as --memory cannot be set: {error.strerror}{where}"
        return Diagnosis("control groups", False, found, "run as root, or in a delegated systemd scope", needed=False)
    return Diagnosis("control groups", True, "memory and processes can be limited")


def _programs() -> Iterator[Diagnosis]:
    tried: tuple[tuple[str, str, str, Callable[[str], bool]], ...] = (
        ("busybox", "pybuild bootstrap busybox", "busybox-static", _is_static),
        ("mmdebstrap", "pybuild bootstrap debian", "mmdebstrap", lambda _: True),
    )
    for program, purpose, package, fits in tried:
        found = [place for place in _places(program) if fits(place)]
        yield Diagnosis(
            program, bool(found), found[0] if found else f"missing ({purpose})", f"install {package}", False
        )


def _places(program: str) -> list[str]:
    directories = os.environ.get("PATH", os.defpath).split(":")
    return [f"{place}/{program}" for place in directories if os.access(f"{place}/{program}", os.X_OK)]


def _is_static(path: str) -> bool:
    with open(path, "rb") as file:
        return b"/ld-" not in file.read(4096)  # where a program names the loader that it wants
