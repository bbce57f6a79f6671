from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from buildah_py.sandbox import Sandbox
from buildah_py.sandbox.host_network import free_network, own_addresses, read_uplinks6
from buildah_py.sandbox.network import RUN_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.sandbox.conftest import Bench

pytestmark = pytest.mark.root


def interfaces(bridge: str) -> list[str]:
    return [name for name in os.listdir("/sys/class/net") if name.startswith(bridge)]


def wait_until(happened: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether it happens: the network of a build is removed beside whatever comes next."""
    end = time.monotonic() + seconds
    while not happened() and time.monotonic() < end:
        time.sleep(0.01)
    return happened()


def test_address_route_and_isolation_from_the_host(bench: Bench) -> None:
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        port = listener.getsockname()[1]
        script = (
            "ip -o -4 addr show eth0; ip route | head -1; cat /sys/class/net/lo/operstate;"
            "gateway=$(ip route | head -1 | cut -d' ' -f3); nc -w 1 $gateway $port < /dev/null && echo reached"
        )
        result = bench.sh(f"port={port}; {script}", network="default")
    assert "inet 10." in result.out
    assert "default via 10." in result.out
    assert "reached" not in result.out
    bridge = bench.sandbox.networks.bridge
    assert sorted(interfaces(bridge)) == [bridge, f"{bridge}.1"]
    bench.sandbox.close()
    assert wait_until(lambda: not os.path.exists(f"{RUN_DIRECTORY}/{bridge}"))
    assert interfaces(bridge) == []
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    assert bridge not in tables


REACH = """
import socket, struct, sys
port, addresses = int(sys.argv[1]), sys.argv[2:]
with open("/proc/net/route") as file:
    routes = [line.split() for line in file.read().splitlines()[1:]]
gateway = next(bytes.fromhex(words[2])[::-1] for words in routes if words[1] == "0" * 8)
words = next(words for words in routes if words[1] != "0" * 8)
network, mask = bytes.fromhex(words[1])[::-1], bytes.fromhex(words[7])[::-1]
broadcast = bytes(one | ~other & 0xFF for one, other in zip(network, mask))
gateway, broadcast = map(socket.inet_ntoa, (gateway, broadcast))
for address in [gateway, "127.0.0.1", *addresses]:
    try:
        socket.create_connection((address, port), timeout=0.5)
        print("reached", address)
    except OSError:
        pass
for address in [gateway, broadcast, "255.255.255.255", *addresses]:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        try:
            out.sendto(b"reached", (address, port))
        except OSError:
            pass
with socket.socket(socket.AF_UNIX) as out:
    try:
        out.connect(f"\\0pybuild-{port}")
        print("reached an abstract socket")
    except OSError:
        print("tried")
"""


def test_services_of_the_machine(bench: Bench) -> None:
    """On whichever of its addresses they listen, by TCP and UDP, and on a socket without an address."""
    with (
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        port = listener.getsockname()[1]
        datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        datagrams.bind(("::", port))
        abstract.bind(f"\0pybuild-{port}")
        abstract.listen()
        spec = bench.python_spec(REACH, network="default")
        spec = replace(spec, argv=(*spec.argv, str(port), *own_addresses()))
        assert bench.execute(spec).out == "tried\n"
        with pytest.raises(BlockingIOError):
            datagrams.recv(100, socket.MSG_DONTWAIT)


LISTEN = """
import socket
listener = socket.create_server(("0.0.0.0", 7000))
probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
probe.connect(("192.0.2.1", 1))  # sends nothing
print(probe.getsockname()[0], flush=True)
listener.accept()
"""


def test_steps_do_not_reach_each_other(bench: Bench) -> None:
    reading, writing = os.pipe()
    listening = bench.sandbox.start_container(bench.python_spec(LISTEN, network="default"), stdout=writing)
    os.close(writing)
    with os.fdopen(reading) as said:
        address = said.readline().strip()
        nearby = bench.sh(f"nc -w 2 {address} 7000 < /dev/null && echo reached || echo kept apart", network="default")
        listening.kill()
        listening.wait()
    assert nearby.out == "kept apart\n"


def test_steps_one_after_the_other_share_a_namespace_and_at_once_do_not(bench: Bench) -> None:
    read = "ip -o -4 addr show eth0 | tr -s ' ' | cut -d' ' -f4"
    assert bench.sh(read, network="default").out == bench.sh(read, network="default").out
    specs = [bench.spec("sh", "-c", f"{read}; sleep 0.3", network="default") for _ in range(4)]
    pipes = [os.pipe() for _ in specs]

    def one(number: int) -> None:
        bench.sandbox.run(specs[number], stdout=pipes[number][1])

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    addresses = set()
    for reading, writing in pipes:
        os.close(writing)
        addresses.add(os.read(reading, 100))
        os.close(reading)
    assert len(addresses) == 4


def test_two_builds_have_different_networks(bench: Bench) -> None:
    with Sandbox(str(bench.path / "other")) as other:
        read = "ip route | grep -v default"
        first = bench.sh(read, network="default").out
        bench.sandbox, mine = other, bench.sandbox
        second = bench.sh(read, network="default").out
        bench.sandbox = mine
    assert first.split()[0] != second.split()[0]
    assert bench.sh("ip route", network="default").out.count("\n") == 2


@pytest.mark.parametrize("victim", ["main", "network"])
def test_a_killed_build_leaves_nothing(bench: Bench, victim: str) -> None:
    program = (
        "import sys\n"
        "from buildah_py.sandbox import ContainerSpec, Sandbox\n"
        "lower, upper, work, init = sys.argv[1:]\n"
        "argv = ('/bin/sh', '-c', 'echo up; sleep 7654323')\n"
        "spec = ContainerSpec(lowers=(lower,), upper=upper, work=work, init=init, argv=argv)\n"
        "sandbox = Sandbox('/nowhere')\n"
        "container = sandbox.start_container(spec)\n"
        "print(sandbox.networks.process, sandbox.networks.bridge, file=sys.stderr, flush=True)\n"
        "container.wait()\n"
    )
    spec = bench.spec("unused")
    command = [sys.executable, "-c", program, str(bench.base), spec.upper, spec.work, spec.init]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        network, bridge = process.stderr.readline().decode().split()
        assert process.stdout.readline() == b"up\n"
        assert bridge in interfaces(bridge)
        if victim == "network":
            os.kill(int(network), signal.SIGKILL)
        process.kill()
        process.stdout.read()
        process.stderr.read()  # ends when the last process of that build has, or removes what it made
    if victim == "network":
        bench.sh("true", network="default")  # the next one sweeps
    assert wait_until(lambda: not interfaces(bridge))


def test_nothing_is_left_when_the_first_process_of_a_container_ends(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from buildah_py.sandbox.network import RUN_DIRECTORY, Networks\n"
        "networks = Networks((), RUN_DIRECTORY)\n"
        "networks.give(networks.take(), reusable=False)\n"
        "print(networks.bridge)\n"
        "networks.close()\n"
    )
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-c", program]
    bridge = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout.strip()
    assert bridge.startswith("pyb")
    assert interfaces(bridge) == []
    assert not os.path.exists(f"{RUN_DIRECTORY}/{bridge}")


def test_a_free_network_is_chosen() -> None:
    assert free_network([("eth0", 0, 0)]) == 0x0A400000
    assert free_network([("eth0", 0, 0), ("x", 0x0A400000, 0xFFFFFF00)]) == 0x0A400400
    assert free_network([("x", 0x0A400000, 0xFFFF0000)]) == 0x0A410000
    with pytest.raises(OSError, match="routed"):
        free_network([("vpn", 0x0A000000, 0xFF000000)])


@pytest.mark.network
def test_names_are_resolved_and_hosts_reached(bench: Bench) -> None:
    if shutil.which("apt-get") is None:
        pytest.skip("needs apt, which names a host to reach")
    targets = ["apt-get", "indextargets", "--format", "$(REPO_URI)dists/$(RELEASE)/Release"]
    lines = subprocess.run(targets, check=True, capture_output=True, text=True).stdout.split()
    url = next((line for line in lines if line.startswith("http://")), None)
    if url is None:
        pytest.skip("apt asks no web server without TLS")
    host = url.split("/")[2].partition(":")[0]
    result = bench.sh(f"nslookup {host} >/dev/null && wget -q -O - {url} | head -1", network="default")
    assert result.out.startswith("Origin:"), result.err


def _outside(name: str) -> list[list[str]]:
    """Another machine, reached by a cable: a network namespace with addresses of its own."""
    inside = ["ip", "-n", name]
    return [
        ["ip", "netns", "add", name],
        ["ip", "link", "add", name, "type", "veth", "peer", "name", "peer0", "netns", name],
        ["ip", "addr", "add", "fd00:beef::1/64", "dev", name, "nodad"],
        ["ip", "link", "set", name, "up"],
        [*inside, "addr", "add", "fd00:beef::2/64", "dev", "peer0", "nodad"],
        [*inside, "link", "set", "lo", "up"],
        [*inside, "link", "set", "peer0", "up"],
    ]


def test_ipv6(bench: Bench) -> None:
    """Outside is reached through translated addresses; the host is not; settings are put back."""
    if shutil.which("ip") is None or not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("needs ip (Debian: iproute2) and IPv6")
    bench.sandbox.networks.directory = str(bench.path / "run")  # builds beside this test keep nothing switched for us
    name = f"pt{os.getpid()}"
    settings = "/proc/sys/net/ipv6/conf"
    watched = [f"{settings}/{of}/{key}" for of in ("all", name) for key in ("forwarding", "accept_ra")]
    if os.path.exists(f"{settings}/all/force_forwarding"):
        watched.append(f"{settings}/{name}/force_forwarding")
    serve = (
        "import socket\n"
        "listener = socket.create_server(('fd00:beef::2', 7000), family=socket.AF_INET6)\n"
        "print('up', flush=True)\n"
        "connection, peer = listener.accept()\n"
        "connection.sendall(peer[0].encode() + b'\\n')\n"
        "connection.close()\n"
    )
    try:
        for command in _outside(name):
            subprocess.run(command, check=True)
        before = [_read(path) for path in watched]
        command = ["ip", "netns", "exec", name, sys.executable, "-c", serve]
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE) as server,
            socket.create_server(("fd00:beef::1", 7001), family=socket.AF_INET6),
        ):
            assert server.stdout is not None
            assert server.stdout.readline() == b"up\n"
            script = "nc fd00:beef::2 7000 < /dev/null; nc -w 1 fd00:beef::1 7001 < /dev/null && echo reached"
            result = bench.sh(f"ip -o -6 addr show eth0 scope global; {script}", network="default")
            server.kill()
        assert "inet6 fd" in result.out
        assert result.out.endswith("fd00:beef::1\n"), (result.out, result.err)
        bench.sandbox.close()
        assert wait_until(lambda: [_read(path) for path in watched] == before)
    finally:
        subprocess.run(["ip", "link", "del", name], check=False)
        subprocess.run(["ip", "netns", "del", name], check=True)


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()


SPEAK_AS_A_ROUTER = """
import socket, struct
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind(("eth0", 0x86DD))
own = out.getsockname()[4]
claimed = socket.inet_aton(CLAIMED)
for kind in (1, 2):  # unasked: a request, and an answer
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, kind) + own + claimed + b"\\xff" * 6 + claimed
    out.send(b"\\xff" * 6 + own + b"\\x08\\x06" + arp)
source, everybody = socket.inet_pton(10, "fe80::1"), socket.inet_pton(10, "ff02::1")
def say(message):
    data = source + everybody + struct.pack("!II", len(message), 58) + message
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    message = message[:2] + struct.pack("!H", ~total & 0xFFFF) + message[4:]
    ip = struct.pack("!IHBB", 6 << 28, len(message), 58, 255) + source + everybody
    out.send(b"\\x33\\x33\\0\\0\\0\\1" + own + b"\\x86\\xdd" + ip + message)
prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 3600, 3600, 0) + socket.inet_pton(10, "2001:db8:bad::")
say(struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 0, 0, 0) + prefix)
say(struct.pack("!BBHI", 137, 0, 0, 0) + everybody + everybody)
say(struct.pack("!BBHHH", 128, 0, 0, 1, 1))
"""


def _address_of(interface: str) -> str:
    command = ["ip", "-o", "-4", "address", "show", "dev", interface]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return shown.split()[3].partition("/")[0]


def test_a_step_that_speaks_as_a_router(bench: Bench) -> None:
    """CVE-2020-13401. The machine neither believes it nor lets it in; of the three messages only the ping is let in."""
    bench.sh("true", network="default")
    bridge = bench.sandbox.networks.bridge
    claimed = _address_of(bridge).rpartition(".")[0] + ".77"
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, bridge.encode())
        listener.settimeout(10)
        bench.python(SPEAK_AS_A_ROUTER.replace("CLAIMED", repr(claimed)), network="default")
        seen = [listener.recv(1 << 10)[0]]
        while seen[-1] != 128:
            seen.append(listener.recv(1 << 10)[0])
    assert not {134, 137} & set(seen)
    for words, what in (
        (["-6", "route", "show", "table", "all"], "2001:db8:bad:"),
        (["-6", "address"], "2001:db8:bad:"),
        (["neighbour", "show", "dev", bridge], claimed),
    ):
        assert what not in subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout
    with open("/proc/net/if_inet6", encoding="ascii") as file:
        assert not [line for line in file if bridge in line and line.startswith("fe80")]


REDIRECT = """
import socket, struct
asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asked.bind(("", 7000))
probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
probe.connect(("192.0.2.1", 1))  # sends nothing
print("up", probe.getsockname()[0], flush=True)
_, (host, port) = asked.recvfrom(100)
own, host = socket.inet_aton(probe.getsockname()[0]), socket.inet_aton(host)
inner = struct.pack("!BBHHHBBH", 0x45, 0, 29, 0, 0, 64, 17, 0) + host + own + struct.pack("!HHHH", port, 7000, 9, 0)
out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
for kind, rest in ((5, own), (3, bytes(4))):  # a redirect, and "there is no such port", which is let in
    message = struct.pack("!BBH", kind, 1 if kind == 5 else 3, 0) + rest + inner
    total = sum(struct.unpack(f"!{len(message) // 2}H", message))
    total = (total & 0xFFFF) + (total >> 16)
    out.sendto(message[:2] + struct.pack("!H", ~total & 0xFFFF) + message[4:], (socket.inet_ntoa(host), 0))
"""


def test_a_step_that_redirects(bench: Bench) -> None:
    """What concerns a connection of the machine's own is let in, but for advice on other ways."""
    bench.sh("true", network="default")
    bridge = bench.sandbox.networks.bridge
    reading, writing = os.pipe()
    spec = bench.python_spec(REDIRECT, network="default")
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as listener, os.fdopen(reading) as said:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, bridge.encode())
        listener.settimeout(10)
        running = bench.sandbox.start_container(spec, stdout=writing)
        os.close(writing)
        address = said.readline().split()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.sendto(b"x", (address, 7000))
            assert running.wait().status == 0
            seen = [listener.recv(1 << 10)[20]]
            while seen[-1] != 3:
                seen.append(listener.recv(1 << 10)[20])
    assert 5 not in seen


def test_ways_outside_are_found(tmp_path: Path) -> None:
    none, any_ = "0" * 32, "fd" + "0" * 30
    routes, addresses = tmp_path / "routes", tmp_path / "addresses"
    routes.write_text(
        f"{none} 00 {none} 00 {any_} 00000400 00000001 00000000 00000003     wan0\n"
        f"{none} 00 {none} 00 {none} ffffffff 00000001 00000000 00200200       lo\n"
        f"{any_} 40 {none} 00 {none} 00000100 00000001 00000000 00000001     lan0\n"
    )
    addresses.write_text(f"{any_} 03 40 00 80     lan1\n{any_} 04 40 20 80     lan2\n{any_} 01 80 10 80       lo\n")
    assert read_uplinks6(str(routes), str(addresses)) == {"wan0", "lan1"}
    assert read_uplinks6(str(routes), str(tmp_path / "missing")) == set()


def test_ipv6_before_single_interfaces_could_forward(tmp_path: Path) -> None:
    """One switch turns forwarding on for all: they go on listening to routers, and are as before afterwards."""
    if shutil.which("ip") is None or not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("needs ip (Debian: iproute2) and IPv6")
    program = (
        "import os, subprocess, sys\n"
        "from buildah_py.linux import namespaces\n"
        "from buildah_py.sandbox import forwarding, network_helper\n"
        "namespaces.unshare(namespaces.CLONE_NEWNET)\n"
        "for words in ('link add d0 type bridge', 'link add d1 type bridge', 'link set d0 up',\n"
        "              'addr add fd00:feed::1/64 dev d0 nodad'):\n"
        "    subprocess.run(['ip', *words.split()], check=True)\n"
        "settings = '/proc/sys/net/ipv6/conf'\n"
        "open(f'{settings}/d1/forwarding', 'w').write('1')\n"
        "names = [f'{settings}/{of}/{key}' for of in ('all', 'd0', 'd1') for key in ('forwarding', 'accept_ra')]\n"
        "def show():\n"
        "    print(*(open(name).read().strip() for name in names))\n"
        "show()\n"
        "forwarding._FORCED = 'not_there'\n"
        "network = network_helper.Network(sys.argv[1])\n"
        "network.open(())\n"
        "show()\n"
        "network.close()\n"
        "show()\n"
        "print(sorted(os.listdir(sys.argv[1])))\n"
    )
    ran = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    before, meanwhile, after, left = ran.stdout.splitlines()
    assert before.split()[:4] == ["0", "1", "0", "1"]
    assert meanwhile.split()[0] == "1"
    assert meanwhile.split()[2:4] == ["1", "2"]
    assert after == before
    assert left == "['lock']"


def test_an_interface_that_goes_meanwhile_is_in_nobodys_way(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys\n"
        "from buildah_py.linux import namespaces\n"
        "from buildah_py.sandbox import forwarding, host_network\n"
        "namespaces.unshare(namespaces.CLONE_NEWNET)\n"
        "for name in ('d0', 'd1'):\n"
        "    subprocess.run(['ip', 'link', 'add', name, 'type', 'bridge'], check=True)\n"
        "def show():\n"
        "    print(*(open(f'/proc/sys/net/ipv4/conf/{name}/forwarding').read().strip() for name in ('d0', 'd1')))\n"
        "forwarding.begin(sys.argv[1], 'd0', {'d1', 'gone'}, {'gone'})\n"
        "show()\n"
        "forwarding.end(sys.argv[1])\n"
        "show()\n"
        "print(host_network.mtu_of('d0'), host_network.mtu_of('gone'))\n"
    )
    ran = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("1 1\n1 0\n1500 0\n", "")


_BEHIND_A_FILTER = """
import os, signal, socket, subprocess, sys, time
from buildah_py.linux import namespaces
from buildah_py.sandbox import ContainerSpec, Sandbox

def do(*words):
    subprocess.run(words, check=True)

def rules():
    return subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout

namespaces.unshare(namespaces.CLONE_NEWNET)
told, tell = os.pipe()
ready, say = os.pipe()
other = os.fork()
if other == 0:
    namespaces.unshare(namespaces.CLONE_NEWNET)
    os.write(say, b"1")
    os.read(told, 1)
    do("ip", "addr", "add", "198.51.100.2/24", "dev", "peer0")
    do("ip", "link", "set", "peer0", "up")
    listener = socket.create_server(("198.51.100.2", 7000))
    os.write(say, b"1")
    while True:
        connection, peer = listener.accept()
        connection.sendall(peer[0].encode() + b"\\n")
        connection.close()
os.read(ready, 1)
do("ip", "link", "add", "up0", "type", "veth", "peer", "name", "peer0", "netns", str(other))
do("ip", "addr", "add", "198.51.100.1/24", "dev", "up0")
do("ip", "link", "set", "up0", "up")
do("ip", "route", "add", "default", "via", "198.51.100.2")
os.write(tell, b"1")
os.read(ready, 1)
for family in ("ip", "inet"):
    do("nft", "add", "table", family, "filter")
    do("nft", "add", "chain", family, "filter", "FORWARD", "{ type filter hook forward priority 0; policy drop; }")
    do("nft", "add", "rule", family, "filter", "FORWARD", "iifname", "docker0", "accept")
before = rules()
lower, upper, work, init, run = sys.argv[1:]
spec = ContainerSpec(lowers=(lower,), upper=upper, work=work, init=init,
                     argv=("/bin/sh", "-c", "nc -w 5 198.51.100.2 7000 < /dev/null"))
sandbox = Sandbox(run)
sandbox.networks.directory = run
try:
    sandbox.run(spec)
    network, bridge = sandbox.networks.process, sandbox.networks.bridge
    sys.stdout.flush()
    assert rules().count(f'comment "{bridge}"') == 4
    if os.environ["KILLED"]:
        os.kill(network, signal.SIGKILL)
        os.waitpid(network, 0)
        sandbox.networks.process = 0
        assert bridge in rules()
        again = Sandbox(run)
        again.networks.directory = run
        again.start(network=True)
        again.networks.take()
        assert bridge not in rules()
        again.close()
finally:
    sandbox.close()
    os.kill(other, signal.SIGKILL)
end = time.monotonic() + 10
while rules() != before and time.monotonic() < end:
    time.sleep(0.02)
print(rules() == before)
"""


@pytest.mark.parametrize("killed", ["", "1"])
def test_through_the_filters_of_others(bench: Bench, killed: str) -> None:
    """Docker and ufw have what is forwarded dropped by default: a build's packets pass, and nothing of that stays."""
    if shutil.which("ip") is None or shutil.which("nft") is None:
        pytest.skip("needs ip and nft (Debian: iproute2, nftables)")
    spec = bench.spec("unused")
    arguments = [str(bench.base), spec.upper, spec.work, spec.init, str(bench.path / "run")]
    ran = subprocess.run(
        [sys.executable, "-c", _BEHIND_A_FILTER, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KILLED": killed},
    )
    assert ran.stderr == ""
    assert ran.stdout == "198.51.100.1\nTrue\n"
