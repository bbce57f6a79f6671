from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from buildah_py.copy.owner import parse_owner
from buildah_py.errors import NotFound, SourceError
from tests.copy.copybench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from buildah_py.layers.writer import LayerWriter

pytestmark = pytest.mark.root


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path) as made:
        yield made


def fill(writer: LayerWriter) -> None:
    writer.add_dir("etc")
    writer.add_dir("real")
    writer.add_symlink("etc/passwd", "../../../real/passwd")
    writer.add_file("real/passwd", b"root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/:/bin/sh\n")
    writer.add_file("etc/group", b"root:x:0:\nstaff:x:50:\n")


@pytest.mark.parametrize(
    ("spec", "ids"),
    [("7", (7, 7)), ("7:8", (7, 8)), ("app", (1000, 1001)), ("app:staff", (1000, 50)), ("app:9", (1000, 9)),
     ("7:staff", (7, 50)), ("root", (0, 0))],
)  # fmt: skip
def test_owners(bench: Bench, spec: str, ids: tuple[int, int]) -> None:
    assert parse_owner(spec, bench.add_layer(fill)) == ids


def test_names_that_the_image_does_not_know(bench: Bench) -> None:
    view = bench.add_layer(fill)
    with pytest.raises(NotFound, match="no user `nobody`"):
        parse_owner("nobody", view)
    with pytest.raises(NotFound, match="no group `wheel`"):
        parse_owner("app:wheel", view)
    assert parse_owner("7:8", bench.view()) == (7, 8)


def test_numbers_need_no_passwd_and_root_is_always_known(bench: Bench) -> None:
    view = bench.view()
    assert parse_owner("5:6", view) == (5, 6)
    assert parse_owner("root:root", view) == (0, 0)


@pytest.mark.parametrize("trick", ["/dev/zero", "/etc/passwd", "../../../../../../etc/passwd"])
def test_a_passwd_that_leads_out_of_the_image_leads_nowhere(bench: Bench, trick: str) -> None:
    def hostile(writer: LayerWriter) -> None:
        writer.add_dir("etc")
        writer.add_symlink("etc/passwd", trick)

    with pytest.raises((NotFound, SourceError)):
        parse_owner("daemon", bench.add_layer(hostile))


def test_a_huge_passwd_is_refused(bench: Bench) -> None:
    def hostile(writer: LayerWriter) -> None:
        writer.add_dir("etc")
        writer.add_file("etc/passwd", bytes, size=5 << 20)

    with pytest.raises(SourceError, match="longer than"):
        parse_owner("daemon", bench.add_layer(hostile))
