"""What keys of RUN say of a machine: nothing where root may do all, else the same for machines of a kind."""

from __future__ import annotations

import pytest

from buildah_py.engine import restrictions as restricting
from buildah_py.engine.restrictions import restrictions
from buildah_py.linux import identity
from buildah_py.sandbox import capabilities

ALL = (0, 0, 4294967295)


def with_ids(monkeypatch: pytest.MonkeyPatch, *ranges: tuple[int, int, int]) -> None:
    """Be in a user namespace of these ids."""
    monkeypatch.setattr(restricting, "has_single_id", lambda: sum(count for *_, count in ranges) == 1)
    monkeypatch.setattr(restricting, "in_user_namespace", lambda: ranges != (ALL,))
    monkeypatch.setattr(restricting, "id_ranges", lambda _: list(ranges))
    monkeypatch.setattr(restricting, "effective_capabilities", lambda: capabilities.ALL)


@pytest.mark.parametrize(
    ("ranges", "said"),
    [
        ([ALL], ""),
        ([(0, 1000, 1)], "in a user namespace of one id"),
        ([(0, 1000, 1), (1, 100000, 65536)], "in a user namespace"),
        ([(0, 100000, 65536)], "in a user namespace"),
        ([(1, 100000, 65535), (0, 1001, 1)], "in a user namespace"),
        ([(0, 1000, 1), (1, 100000, 131072)], "in a user namespace of the ids 0-131071"),
        ([(0, 0, 1000), (1000, 1000, 4294966295)], "in a user namespace"),
        ([(0, 1000, 1), (1, 100000, 999)], "in a user namespace of the ids 0-999"),
        ([(0, 1000, 1), (1000, 100000, 2)], "in a user namespace of the ids 0-0,1000-1001"),
    ],
)
def test_machines(ranges: list[tuple[int, int, int]], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_ids(monkeypatch, *ranges)
    assert restrictions() == said


def test_containers_of_root(monkeypatch: pytest.MonkeyPatch) -> None:
    with_ids(monkeypatch, ALL)
    usual, few = ((0, 3_000_000, 65536),), ((0, 3_000_000, 10),)
    assert restrictions(usual, usual) == "in a user namespace"
    assert restrictions(few, few) == "in a user namespace of the ids 0-9"
    assert restrictions(usual, few) == "in a user namespace of the ids 0-65535 and 0-9"


def test_a_root_who_may_not_all(monkeypatch: pytest.MonkeyPatch) -> None:
    with_ids(monkeypatch, ALL)
    lacking = capabilities.mask(("MKNOD", "SYS_NICE", "SETFCAP"))
    monkeypatch.setattr(restricting, "effective_capabilities", lambda: capabilities.ALL & ~lacking)
    assert restrictions() == "without CAP_MKNOD, CAP_SETFCAP"
    assert capabilities.DEFAULT == identity.LENT
