"""Cache mounts of several steps and builds: who has which directory, and that nobody waits for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Pybuild

LOCKED = "sharing=locked"


@pytest.mark.root
def test_one_cache_twice_in_a_step(busybox: Pybuild) -> None:
    """The lock is taken once, and a private cache is one directory for the whole step."""
    busybox.build(
        busybox.context(
            f"""FROM busybox
RUN --mount=type=cache,id=k,target=/c1,{LOCKED} --mount=type=cache,id=k,target=/c2,{LOCKED} touch /c1/x && ls /c2/x
RUN --mount=type=cache,id=p,target=/a,sharing=private --mount=type=cache,id=p,target=/b,sharing=private \\
    touch /a/x && ls /b/x
RUN --mount=type=cache,id=k,target=/c1 --mount=type=cache,id=k,target=/c2,{LOCKED} ls /c1/x /c2/x
"""
        )
    )


@pytest.mark.root
def test_steps_with_several_locked_caches_do_not_wait_for_each_other(busybox: Pybuild) -> None:
    """Each stage has one that the other has, in the other order, and holds it for a while."""
    one, other = (f"--mount=type=cache,target=/{name},id={name},{LOCKED}" for name in ("A", "B"))
    stages = "".join(
        f"FROM busybox AS s{number}\nRUN {' '.join(mounts)} usleep 20000 && echo {number} > /{number}\n"
        for number, mounts in enumerate([(one, other), (other, one)] * 3)
    )
    copies = "".join(f"COPY --from=s{number} /{number} /\n" for number in range(6))
    busybox.build(busybox.context(f"{stages}FROM busybox\n{copies}"))
    assert busybox.sh("cat /[0-5]").split() == list("012345")


@pytest.mark.root
def test_a_cache_of_another_owner_or_mode_is_another_one(busybox: Pybuild) -> None:
    cache = "--mount=type=cache,id=q,target=/q"
    busybox.build(
        busybox.context(
            f"""FROM busybox
RUN {cache} touch /q/x && chmod 777 /q
RUN {cache},uid=1001,gid=1002,mode=0751 stat -c '%u %g %a' /q > /owner && ls /q >> /owner
USER 1000:1000
RUN {cache},uid=1000,gid=1000 touch /q/y
USER 0
RUN {cache} ls /q > /seen
"""
        )
    )
    assert busybox.sh("cat /owner") == "1001 1002 751\n"
    assert busybox.sh("cat /seen") == "x\n"
    listed = busybox.run("cache", "mounts", "ls").stdout
    assert "q (owner=1000:1000:755)" in listed
    assert busybox.run("cache", "mounts", "rm", "q").stdout.startswith("removed 3 cache mounts")


@pytest.mark.root
def test_a_cache_that_begins_with_a_directory_looks_like_it(busybox: Pybuild) -> None:
    busybox.build(
        busybox.context(
            """FROM busybox AS s
RUN mkdir -p /home/u/.npm && echo 1 > /home/u/.npm/f && chown -R 1000:7 /home/u/.npm && chmod 750 /home/u/.npm
FROM busybox
USER 1000:7
RUN --mount=type=cache,from=s,source=/home/u/.npm,target=/c echo 2 >> /c/f
RUN --mount=type=cache,from=s,source=/home/u/.npm,target=/d cat /d/f && stat -c '%u %g %a' /d
RUN --mount=type=cache,from=s,source=/home/u/.npm,target=/c stat -c '%u %g %a' /c > /tmp/seen && cat /c/f >> /tmp/seen
"""
        )
    )
    assert busybox.sh("cat /tmp/seen") == "1000 7 750\n1\n2\n"


def test_what_a_step_has_emptied_is_not_filled_again(busybox: Pybuild) -> None:
    """Nothing is ever written by us where a container may be at work, so that it cannot put links in the way."""
    mount = "RUN --mount=type=cache,id=filled,from=seed,source=/s,target=/c"
    context = busybox.context(
        f"FROM busybox AS seed\nRUN mkdir -p /s/d && echo 1 > /s/d/f\nFROM busybox\n{mount} cat /c/d/f && rm -r /c/d\n"
        f"{mount} ls -A /c > /seen\n"
    )
    busybox.build(context)
    assert busybox.sh("cat /seen") == ""


@pytest.mark.root
def test_a_part_of_a_cache_that_leads_elsewhere(busybox: Pybuild) -> None:
    """A step may leave a link there: it leads to nothing outside of the cache."""
    cache = "RUN --mount=type=cache,id=k"
    busybox.build(busybox.context(f"FROM busybox\n{cache},target=/c mkdir /c/in && ln -s /etc /c/out\n"))
    for source in ("out", "../../../../../../etc", "in/../out"):
        failed = busybox.build(busybox.context(f"FROM busybox\n{cache},source={source},target=/p ls /p\n"), status=125)
        assert "the cache `k` has no" in failed.shown, source
    busybox.build(busybox.context(f"FROM busybox\n{cache},source=in,target=/p ls /p\n"))
