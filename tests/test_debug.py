"""The log of --debug: what a line looks like, what is kept out of it, and that it costs nothing while it is off."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest


def run(script: str) -> list[str]:
    """Run a script in an interpreter of its own; the lines of its log, the times left out."""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, encoding="utf-8", timeout=60)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert all(re.match(r"debug +\d+ ms ", line) for line in lines)
    return [re.sub(r"^debug +\d+ ms ", "", line) for line in lines]


def test_off_it_says_nothing_and_imports_nothing() -> None:
    script = "import sys; from buildah_py import debug; debug.log('%s', 1); assert 'logging' not in sys.modules"
    assert run(script) == []


def test_a_line_names_the_module_and_the_thread() -> None:
    script = """
import threading
from buildah_py import debug
debug.switch_on()
debug.switch_on()
__name__ = "buildah_py.store.locks"
debug.log("100 %")
debug.log("took %s, %d", "it", 7)
def call():
    debug.log("took %s", "another")
thread = threading.Thread(target=call, name="step 3")
thread.start()
thread.join()
"""
    assert run(script) == ["store.locks: 100 %", "store.locks: took it, 7", "store.locks (step 3): took another"]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("GET https://me:s3cret@host:5/a?sig=s3cret&x=1: 200", "GET https://host:5/a?… 200"),
        ("https://s3cret@host/a@b `http://h/x?y`", "https://host/a@b `http://h/x?…`"),
        ("/a/b@c?d", "/a/b@c?d"),
        ("name\x1b[31m\nsecond", r"name\x1b[31m\nsecond"),
    ],
)
def test_addresses_lose_what_may_be_secret_and_control_characters_are_shown(given: str, shown: str) -> None:
    script = f"from buildah_py import debug; __name__ = 'buildah_py.x'; debug.switch_on(); debug.log('%s', {given!r})"
    assert run(script) == [f"x: {shown}"]
