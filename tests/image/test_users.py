from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildah_py.errors import NotFound
from buildah_py.image import users
from buildah_py.image.users import ExecUser

PASSWD = b"""root:x:0:0:root:/root:/bin/sh
# a comment
broken line
app:x:1000:1001:An App:/home/app:/bin/sh
app:x:5000:5000:second of its name:/x:/bin/sh
nohome:x:7:7:::
1234:x:77:78::/digits:
+nis::::::
negative:x:-1:0::/:
"""
GROUP = b"root:x:0:root\nstaff:x:50:app,root\nwheel:x:10:other,app\nappgroup:x:1001:\nbad\nwheel:x:99:\n"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("", ExecUser(0, 0, (0, 50), "root", "/root")),
        ("root", ExecUser(0, 0, (0, 50), "root", "/root")),
        ("0", ExecUser(0, 0, (0, 50), "root", "/root")),
        ("app", ExecUser(1000, 1001, (50, 10), "app", "/home/app")),
        ("1000", ExecUser(1000, 1001, (50, 10), "app", "/home/app")),
        ("app:wheel", ExecUser(1000, 10, (), "app", "/home/app")),
        ("app:33", ExecUser(1000, 33, (), "app", "/home/app")),
        ("app:", ExecUser(1000, 1001, (50, 10), "app", "/home/app")),
        ("4242", ExecUser(4242, 0, (), "", "/")),
        ("4242:staff", ExecUser(4242, 50, (), "", "/")),
        ("nohome", ExecUser(7, 7, (), "nohome", "/")),
        ("1234", ExecUser(1234, 0, (), "", "/")),
        ("4294967294", ExecUser(4294967294, 0, (), "", "/")),
    ],
)
def test_users(spec: str, expected: ExecUser) -> None:
    assert users.user(spec, PASSWD, GROUP) == expected


def test_root_needs_no_files() -> None:
    assert users.user("") == ExecUser(0, 0, (), "", "/")
    assert users.user("root") == ExecUser(0, 0, (), "root", "/root")
    assert users.user("root:root").gid == 0
    assert users.owner("root:root") == (0, 0)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("app", (1000, 1001)),
        ("55", (55, 55)),
        ("1000", (1000, 1000)),
        ("55:66", (55, 66)),
        ("55:wheel", (55, 10)),
        ("app:0", (1000, 0)),
        (":wheel", (0, 10)),
    ],
)
def test_owners(spec: str, expected: tuple[int, int]) -> None:
    assert users.owner(spec, PASSWD, GROUP) == expected


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("ghost", "no user `ghost` in the image's /etc/passwd"),
        ("app:ghost", "no group `ghost` in the image's /etc/group .wanted for `app:ghost`"),
        ("negative", "no user `negative`"),
        ("-1", "no user `-1`"),
        ("4294967295", "no user `4294967295`"),
        ("app:99999999999", "no group `99999999999`"),
        ("nis", "no user"),
    ],
)
def test_who_is_not_there(spec: str, said: str) -> None:
    for look_up in (users.user, users.owner):
        with pytest.raises(NotFound, match=said) as raised:
            look_up(spec, PASSWD, GROUP)
        assert "number" in raised.value.hint


def test_a_huge_passwd_is_read_in_part() -> None:
    long = b"long:x:1:1:" + b"g" * 100_000 + b":/:\n"
    assert users.user("after", long + b"after:x:9:9::/:\n").uid == 9
    with pytest.raises(NotFound):
        users.user("after", b"x:x:1:1::/:\n" * (users.MAX_BYTES // 12 + 1) + b"after:x:9:9::/:\n")


@given(st.binary(max_size=200), st.binary(max_size=200), st.text(alphabet="a0:x", max_size=5))
def test_any_bytes_are_tolerated(passwd: bytes, group: bytes, spec: str) -> None:
    try:
        found = users.user(spec, passwd, group)
    except NotFound:
        return
    assert found.uid >= 0
    assert found.gid >= 0


@pytest.mark.parametrize("number", ["4294967295", "99999999999"])
def test_a_number_that_is_no_id_is_no_name_either(number: str) -> None:
    """CVE-2016-3697: no account can be called like a number."""
    passwd, group = f"{number}:x:0:0::/:\n".encode(), f"{number}:x:0:\n".encode()
    for spec in (number, f"5:{number}"):
        with pytest.raises(NotFound):
            users.user(spec, passwd, group)
        with pytest.raises(NotFound):
            users.owner(spec, passwd, group)
