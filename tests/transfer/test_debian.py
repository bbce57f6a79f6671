"""Where Debian comes from, and what is told while it comes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import NotFound
from buildah_py.meter import ITEMS, Listening, Moved
from buildah_py.transfer.debian import own_sources, public_sources
from buildah_py.transfer.mmdebstrap import Words

if TYPE_CHECKING:
    from pathlib import Path


def test_own_archives_are_those_that_any_machine_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "apt-get"
    program.write_text(
        "#!/bin/sh\ncat <<'END'\n"
        "trixie main http://a/debian/ Debian\ntrixie-security main http://a/security/ Debian\n"
        "trixie-backports main http://a/debian/ Debian\ntrixie contrib http://a/debian/ Debian\n"
        "trixie main http://b/deb/ Some Shop Ltd.\nbookworm main http://a/debian/ Debian\nEND\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert own_sources("trixie") == "deb http://a/debian/ trixie main\ndeb http://a/security/ trixie-security main\n"
    assert own_sources("sid") == ""
    program = tmp_path / "mmdebstrap"
    program.write_text("my $mirror    = 'http://c/debian';\nmy $secmirror = 'http://d/debian-security';\n")
    program.chmod(0o755)
    assert public_sources("sid") == "deb http://c/debian sid main\n"
    assert public_sources("trixie").splitlines()[1:] == [
        "deb http://c/debian trixie-updates main",
        "deb http://d/debian-security trixie-security main",
    ]
    program.write_text("")
    with pytest.raises(NotFound, match="which archive of Debian everybody reaches"):
        public_sources("sid")


_SAID = """\
I: running apt-get update...
Get:1 http://archive.test/debian bookworm InRelease [151 kB]
Fetched 151 kB in 0s (272 MB/s)
I: downloading packages with apt...
0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.
Need to get 3.5 MB of archives.
Get:1 http://archive.test/debian bookworm/main amd64 libc6 amd64 2.36-9 [2759 kB]
Get:2 http://archive.test/debian bookworm/main amd64 dash amd64 0.5.12-2 [741 kB]
I: installing essential packages...
Unpacking libc6:amd64 (2.36-9) ...
Setting up libc6:amd64 (2.36-9) ...
Unpacking dash (0.5.12-2) ...
Setting up dash (0.5.12-2) ...
I: installing remaining packages inside the chroot...
0 upgraded, 1 newly installed, 0 to remove and 0 not upgraded.
Need to get 0 B/205 kB of archives.
Unpacking apt (2.6.1) ...
I: creating tarball...
"""


def test_what_mmdebstrap_says_is_told_in_meters() -> None:
    told: list[Moved] = []
    with Listening(told.append, interval=0):
        Words().follow(f"{line}\n".encode() for line in _SAID.splitlines())
    ends = [(one.what, one.done, one.total, one.unit == ITEMS) for one in told if one.ended]
    assert ends == [
        ("fetching package lists", 151_000, 0, False),
        ("fetching essential packages", 3_500_000, 3_500_000, False),
        ("unpacking essential packages", 1, 2, True),
        ("configuring essential packages", 1, 2, True),
        ("unpacking essential packages", 2, 2, True),
        ("configuring essential packages", 2, 2, True),
        ("fetching other packages", 0, 0, False),
        ("unpacking other packages", 1, 1, True),
    ]
