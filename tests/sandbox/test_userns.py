from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildah_py.linux import identity
from buildah_py.sandbox import userns
from buildah_py.sandbox.host_network import own_addresses

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SOMEBODY = 54321

PROGRAM = """
import os, sys
from buildah_py.linux import identity
from buildah_py.sandbox import userns
from buildah_py.sandbox.host_network import own_addresses
if identity.needs_user_namespace(os.environ):
    userns.reexec_in_user_namespace([sys.executable, *sys.orig_argv[1:]], os.environ)
from buildah_py.errors import PybuildError
from buildah_py.sandbox import ContainerSpec, Sandbox, BindMount, FileMount, TmpfsMount
place, user, network, *argv = sys.argv[1:]
for name in ("upper", "work", "init", "bound"):
    os.mkdir(f"{place}/{name}")
mounts = (BindMount(f"{place}/bound", "/bound"), FileMount("/run/secret", b"secret"), TmpfsMount("/scratch"))
if os.path.exists(f"{place}/base/frames.py"):
    mounts += (BindMount("/usr", "/usr"),)
spec = ContainerSpec(lowers=(f"{place}/base",), upper=f"{place}/upper", work=f"{place}/work", init=f"{place}/init",
                     argv=tuple(argv), network=network, user=user, mounts=mounts)
with Sandbox(place) as sandbox:
    container = sandbox.start_container(spec)
    try:
        status = container.wait().status
    except PybuildError as error:
        print(error, file=sys.stderr)
        status = 125
    for warning in container.warnings:
        print(warning, file=sys.stderr)
print(os.environ[identity.MARKER], *sorted(os.listdir(f"{place}/upper")))
sys.exit(status)
"""


def _interpreter(user: int) -> str:
    for candidate in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        check = "import sys, ctypes, buildah_py; sys.exit(sys.version_info < (3, 11))"
        try:
            ran = subprocess.run(
                [candidate, "-B", "-c", check],
                user=user,
                cwd="/",
                env={"PYTHONPATH": _package()},
                check=False,
                capture_output=True,
            )
        except PermissionError:
            continue
        if ran.returncode == 0:
            return candidate
    pytest.skip("an ordinary user can read no Python 3.11 or not this package")


def _package() -> str:
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(userns.__file__))))


@pytest.fixture
def place() -> Iterator[Path]:
    if not os.access("/bin/busybox", os.X_OK):
        pytest.skip("needs a static /bin/busybox (Debian: busybox-static)")
    directory = Path(tempfile.mkdtemp(prefix="pybuild-userns-"))
    binaries = directory / "base" / "bin"
    binaries.mkdir(parents=True)
    shutil.copy("/bin/busybox", binaries / "busybox")
    for applet in (
        "sh",
        "id",
        "chown",
        "stat",
        "rm",
        "cat",
        "mkdir",
        "touch",
        "readlink",
        "mknod",
        "nc",
        "timeout",
        "ip",
        "ls",
        "grep",
        "cut",
    ):
        (binaries / applet).symlink_to("busybox")
    (directory / "base" / "etc").mkdir()
    (directory / "base" / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\napp:x:77:78::/:/bin/sh\n")
    yield directory
    shutil.rmtree(directory)


def _run(
    place: Path, script: str, *, user: str = "", network: str = "none", before: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    owner = os.geteuid() or SOMEBODY
    interpreter = _interpreter(owner)
    if os.geteuid() == 0:
        for path in (place, *place.rglob("*")):
            os.chown(path, owner, owner, follow_symlinks=False)
    env = {"PYTHONPATH": _package(), "PATH": os.environ["PATH"]}
    argv = [interpreter, "-B", "-c", PROGRAM, str(place), user, network, "/bin/sh", "-c", script]
    as_somebody = {"user": owner, "group": owner, "extra_groups": []} if os.geteuid() == 0 and not before else {}
    result = subprocess.run(
        [*before, *argv], env=env, cwd="/", capture_output=True, text=True, check=False, **as_somebody
    )  # type: ignore[call-overload]
    if "cannot enter a user namespace" in result.stderr:
        pytest.skip("this machine allows no user namespaces without root")
    assert isinstance(result, subprocess.CompletedProcess)
    return result


@pytest.mark.userns
def test_a_step_without_root(place: Path) -> None:
    script = (
        "id -u; cat /run/secret; echo x > /dev/null; touch /made /scratch/x /bound/x; rm -r /etc/passwd; mkdir /d;"
        "touch /d/f; chown 5:6 /made && echo changed; exit 7"
    )
    result = _run(place, script)
    assert result.returncode == 7, result.stderr
    out = result.stdout.split()
    assert out[:2] == ["0", "secretchanged"]
    assert out[2] in {"full", "single"}
    assert out[3:] == ["d", "etc", "made"]
    assert "/bound/x: Read-only" in result.stderr


@pytest.mark.userns
def test_other_users_without_root(place: Path) -> None:
    result = _run(place, "id -u; id -g", user="app")
    if "single" in result.stdout:
        assert result.returncode == 125
        assert "only root exists here" in result.stderr
    else:
        assert result.stdout.split()[:2] == ["77", "78"]


_BEFORE = """
mount --make-rprivate / && cp -a /dev/net/tun "$1/tun" && chmod 666 "$1/tun" && mount --bind "$1/tun" /dev/net/tun
for tool in pasta slirp4netns; do
    [ $tool = "$2" ] || ! command -v $tool > /dev/null || mount --bind /dev/null "$(command -v $tool)"
done
user=$3; shift 3
exec setpriv --reuid=$user --regid=$user --clear-groups --inh-caps=-all "$@"
"""


FRAMES = """
import socket, struct, sys
ask = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ask.connect((sys.argv[-1], 1))
source = socket.inet_aton(ask.getsockname()[0])
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
(device,) = (name for _, name in socket.if_nameindex() if name != "lo")
out.bind((device, 0))
with open("/proc/net/arp") as file:
    gateway = bytes.fromhex(file.read().splitlines()[1].split()[3].replace(":", ""))
port = int(sys.argv[1])
for address in sys.argv[2:]:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 37, 1, 0, 64, 17, 0) + source + socket.inet_aton(address)
    total = sum(struct.unpack("!10H", head))
    head = head[:10] + struct.pack("!H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF) + head[12:]
    frame = gateway + out.getsockname()[4] + b"\\x08\\0" + head + struct.pack("!HHHH", 5555, port, 17, 0) + b"a message"
    for kind in (0x0800, 0x1234):  # what is said of it may be wrong
        try:
            out.sendto(frame, (device, kind, 0, 0, gateway))
        except OSError:
            print("kept back")
    if address != sys.argv[-1]:
        try:
            ask.close()
            ask = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            ask.sendto(b"a message", (address, port))
        except OSError:
            print("kept back")
"""
LOCAL = ("127.0.0.1", "127.0.0.2", "0.0.0.0", "224.0.0.1")
BRIDGES = tuple(f"10.{number}." for number in range(64, 128))
"""How addresses of builds' bridges begin: sandbox/host_network.py."""
"""What those who serve the network take for the machine that they run on, whatever its addresses are."""


@pytest.mark.root
@pytest.mark.userns
@pytest.mark.parametrize("tool", ["pasta", "slirp4netns"])
def test_a_network_of_its_own_without_root(place: Path, tool: str) -> None:
    """Outside is reached; what listens on this machine is not, on whichever address it does.

    With pasta of 2023 the end of a connection may not arrive, hence the time limit.
    """
    missing = [name for name in (tool, "unshare", "setpriv") if shutil.which(name) is None]
    if missing or not os.path.exists("/dev/net/tun") or os.geteuid() != 0:
        pytest.skip(f"needs root, /dev/net/tun and {', '.join(missing) or tool}")
    outside = f"pu{os.getpid()}"
    # Several runs of the tests may do this at once; the addresses are those for tests of networks (RFC 2544).
    network = f"198.{18 if tool == 'pasta' else 19}.{os.getpid() % 250}"
    addresses = list(own_addresses())
    serve = f"import socket\nlistener = socket.create_server(('{network}.2', 7000))\n"
    serve += "datagrams = socket.socket(type=socket.SOCK_DGRAM)\ndatagrams.bind(('', PORT))\nprint('up', flush=True)\n"
    serve += "connection, _ = listener.accept()\nconnection.sendall(b'outside\\n')\nconnection.close()\n"
    serve += "datagrams.recv(100)\nprint('frame', flush=True)\n"
    inside = ["ip", "-n", outside]
    commands = [
        ["ip", "netns", "add", outside],
        ["ip", "link", "add", outside, "type", "veth", "peer", "name", "peer0", "netns", outside],
        ["ip", "addr", "add", f"{network}.1/24", "dev", outside],
        ["ip", "link", "set", outside, "up"],
        [*inside, "addr", "add", f"{network}.2/24", "dev", "peer0"],
        [*inside, "link", "set", "peer0", "up"],
    ]
    try:
        for words in commands:
            subprocess.run(words, check=True)
        with (
            socket.create_server(("0.0.0.0", 0)) as listener,
            socket.socket(type=socket.SOCK_DGRAM) as datagrams,
            subprocess.Popen(
                [
                    "ip",
                    "netns",
                    "exec",
                    outside,
                    sys.executable,
                    "-c",
                    serve.replace("PORT", str(listener.getsockname()[1])),
                ],
                stdout=subprocess.PIPE,
            ) as server,
        ):
            assert server.stdout is not None
            assert server.stdout.readline() == b"up\n"
            port = listener.getsockname()[1]
            datagrams.bind(("0.0.0.0", port))
            (place / "base" / "frames.py").write_text(FRAMES)
            for name in ("lib", "lib64"):
                (place / "base" / name).symlink_to(f"usr/{name}")
            # Not those of other builds' bridges, which may be gone in a moment: then they are somebody else's.
            own = sorted({one for one in addresses if ":" not in one and not one.startswith(BRIDGES)})
            frames = f"/usr/bin/python3 -I -S /frames.py {port} {' '.join((*own, *LOCAL))} {network}.2"
            tries = [f"timeout 5 nc -w 2 {one} {port} < /dev/null && echo reached" for one in own]
            gateway = f"nc -w 2 $(ip route | grep default | cut -d' ' -f3) {port} < /dev/null && echo reached"
            script = "; ".join(
                [
                    f"timeout 10 nc -w 5 {network}.2 7000 < /dev/null",
                    "ls /sys/class/net",
                    *tries,
                    gateway,
                    frames,
                    "true",
                ]
            )
            before = ["unshare", "-m", "/bin/sh", "-euc", _BEFORE, "sh", str(place), tool, str(SOMEBODY)]
            try:
                result = _run(place, script, network="default", before=before)
                assert "kept back" in result.stdout, result.stderr
                assert server.stdout.readline() == b"frame\n", "frames arrive, but for those that are refused"
                with pytest.raises(BlockingIOError):
                    datagrams.recv(100, socket.MSG_DONTWAIT)
            finally:
                server.kill()
    finally:
        subprocess.run(["ip", "link", "del", outside], check=False)
        subprocess.run(["ip", "netns", "del", outside], check=True)
    assert result.stdout.split()[0] == "outside", result.stderr
    assert "reached" not in result.stdout
    assert ("tap0" in result.stdout) == (tool == "slirp4netns")
    assert "it uses the host's" not in result.stderr


@pytest.mark.userns
def test_network_without_root(place: Path) -> None:
    result = _run(place, "readlink /proc/self/ns/net", network="default")
    assert result.returncode == 0, result.stderr
    shared = result.stdout.split()[0] == os.readlink("/proc/self/ns/net")
    assert shared == ("it uses the host's" in result.stderr)


def test_ranges_are_read(tmp_path: Path) -> None:
    file = tmp_path / "subuid"
    file.write_text("other:1:2\nme:100000:65536\n1000:300000:10\n\nme:broken:1\nme:5\n")
    assert userns.subordinate_ids(str(file), 1000, "me") == [(100000, 65536), (300000, 10)]
    assert userns.subordinate_ids(str(tmp_path / "missing"), 1000, "me") == []
    words = userns.id_map(1000, [(100000, 65536), (300000, 10)])
    assert " ".join(words) == "0 1000 1 1 100000 65536 65537 300000 10"


def test_only_those_without_root_need_it() -> None:
    assert identity.needs_user_namespace({}) == (os.geteuid() != 0)
    assert not identity.needs_user_namespace({identity.MARKER: "full"})
