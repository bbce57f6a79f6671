"""Debian as a base image, made by an mmdebstrap that brings of its machine all that the real one may bring."""

from __future__ import annotations

import json
import os
import re
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.end_to_end.conftest import Pybuild

_ARCHIVES = """\
# my $mirror = 'http://archive.test/debian';
# my $secmirror = 'http://security.test/debian-security';
"""
"""Text that pybuild looks for in the program's text."""
_MMDEBSTRAP = (
    f"""#!/bin/sh -e
{_ARCHIVES}"""
    """
for word; do case $word in --customize-hook=*) hook=${word#*=};; esac; done
root=$(mktemp -d)
cd $root
mkdir -p etc/apt/apt.conf.d etc/dpkg/dpkg.cfg.d usr/sbin usr/bin var/cache/apt var/cache/debconf var/lib/dpkg dev/pts
mine=$(cat /proc/sys/kernel/random/uuid)
for file in etc/hostname etc/resolv.conf etc/passwd- var/cache/apt/pkgcache.bin var/cache/debconf/config.dat-old; do
    echo $mine > $file
done
cat > etc/apt/sources.list
echo "root:*:$(od -An -N2 -tu2 /dev/urandom | tr -d ' '):0:99999:7:::" > etc/shadow
: > dev/null
echo program > usr/bin/program
touch -d 2024-05-06T07:08:09Z usr/bin/program
env > "${0%/*}/env"
umask >> "${0%/*}/env"
sh -c "$hook" exec $root
tar -C $root --clamp-mtime --mtime=@$SOURCE_DATE_EPOCH -c .
rm -r $root
"""
)


def _put(directory: Path, name: str, script: str) -> None:
    (directory / name).write_text(script)
    (directory / name).chmod(0o755)


def test_debian_is_the_same_image_wherever_it_was_made(pybuild: Pybuild) -> None:
    _put(pybuild.work, "mmdebstrap", _MMDEBSTRAP)
    _put(pybuild.work, "apt-get", "#!/bin/sh\necho 'bookworm main http://mirror.test/debian/ Debian'\n")
    path = f"{pybuild.work}:{os.environ['PATH']}"
    here = pybuild.run("bootstrap", "debian:bookworm", PATH=path).stdout
    _put(pybuild.work, "apt-get", "#!/bin/sh\nexit 1\n")
    there = pybuild.run(
        "bootstrap", "debian:bookworm", "-t", "there",
        PATH=path, TZ="Asia/Tokyo", SOURCE_DATE_EPOCH="1", DEBIAN_FRONTEND="readline", DEBCONF_X="1",
    ).stdout  # fmt: skip
    assert there == here
    environment = (pybuild.work / "env").read_text()
    assert "0022" in environment.split()
    assert not re.search("Tokyo|readline|DEBCONF|PYBUILD_ROOT", environment)

    pybuild.run("save", "--format=oci-dir", "-o", pybuild.work / "saved", "debian:bookworm")
    config = json.loads(pybuild.run("inspect", "debian:bookworm").stdout)[0]
    assert config["Created"].startswith("2024-05-06T07:08:09"), "as old as the newest file of a package"
    (blob,) = [one for one in (pybuild.work / "saved/blobs/sha256").iterdir() if _is_layer(one)]
    with tarfile.open(blob) as layer:
        members = {one.name: one for one in layer}
        assert {one.mtime for one in members.values()} == {1714979289}
        assert not [name for name in members if re.search(r"dev/|hostname|resolv|cache\.bin|-old$|passwd-", name)]
        assert members["dev"].isdir()
        assert members["usr/sbin/policy-rc.d"].mode & 0o111
        text = {name: layer.extractfile(name).read().decode() for name, one in members.items() if one.isfile()}  # type: ignore[union-attr]
    assert text["etc/shadow"] == "root:*::0:99999:7:::\n"
    assert "pkgcache" in text["etc/apt/apt.conf.d/docker-clean"]
    assert text["etc/apt/sources.list"].splitlines() == [
        "deb http://archive.test/debian bookworm main",
        "deb http://archive.test/debian bookworm-updates main",
        "deb http://security.test/debian-security bookworm-security main",
    ]
    _put(pybuild.work, "apt-get", "#!/bin/sh\necho 'bookworm main http://mirror.test/debian/ Debian'\n")
    pybuild.run("bootstrap", "debian:bookworm", "--own-sources", PATH=path)
    shown = pybuild.run("cat", "debian:bookworm:/etc/apt/sources.list").stdout
    assert shown == "deb http://mirror.test/debian/ bookworm main\n"


def _is_layer(blob: Path) -> bool:
    return blob.read_bytes()[:1] != b"{"


def test_mmdebstrap_fails(pybuild: Pybuild) -> None:
    """Its own words say why, also where it ends before it has read anything, or in the middle of the archive."""
    path = f"{pybuild.work}:{os.environ['PATH']}"
    for what in ("exec <&-", "head -c 100000 /dev/zero"):
        _put(
            pybuild.work,
            "mmdebstrap",
            f"#!/bin/sh\n{_ARCHIVES}{what}\necho I: so >&2\necho E: no such suite >&2\nexit 3\n",
        )
        result = pybuild.run("bootstrap", "debian:nonesuch", status=125, PATH=path)
        assert "mmdebstrap nonesuch ended with status 3:\n  E: no such suite\n" in result.stderr, what
        assert "I: so" not in result.stderr
