"""Histories that went wrong once, or that a reader of the rules would think of first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .inputs import Build, File, Move, changed, lines
from .world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .inputs import Action

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as world:
        yield world


def succeed(world: World, *actions: Action) -> None:
    """Play a history in which every build has to succeed."""
    world.start()
    for action in actions:
        assert world.act(action), action


def both(*text: str, **more: object) -> tuple[Build, Build]:
    """Give a build of what the text says, twice: all hits the second time."""
    build = Build(lines(*text), **more)  # type: ignore[arg-type]
    return build, build


# Equal layers in one chain: each last line has to run, and to see what is expected.

EQUAL_LAYERS = {
    "write, touch": ("RUN echo a > /f", "RUN touch /f", "RUN [ $(cat /f) = a ]"),
    "write, remove, write": ("RUN echo a > /f", "RUN rm /f", "RUN echo a > /f", "RUN [ $(cat /f) = a ]"),
    "the same COPY twice": ("COPY a /x", "COPY a /x", "RUN [ $(cat /x) = a ]"),
    "the same COPY thrice": ("COPY a /x", "COPY a /x", "COPY a /x", "RUN [ $(cat /x) = a ]"),
    "the same COPY --link twice": ("COPY --link a /x", "COPY --link a /x", "RUN [ $(cat /x) = a ]"),
    "an empty directory twice": ("COPY empty /var/", "COPY empty /var/", "RUN [ -d /var ]"),
    "chmod and back": ("RUN chmod 700 /w", "RUN chmod 755 /w", "RUN chmod 700 /w", "RUN [ $(stat -c %a /w) = 700 ]"),
    "a user comes, goes and comes": (
        "RUN echo u1:x:1000:1000::/:/bin/sh >> /etc/passwd",
        "RUN sed -i /^u1:/d /etc/passwd",
        "RUN echo u1:x:1000:1000::/:/bin/sh >> /etc/passwd",
        "RUN id u1",
    ),
    "removed in two steps": ("RUN rm -rf /d/*", "RUN mkdir -p /d/e", "RUN rm -rf /d/*", "RUN [ -z $(ls /d) ]"),
    "touched with a date": ("COPY a /f", "RUN touch -d @86400 /f", "RUN [ $(stat -c %Y /f) = 86400 ]"),
    "in a base stage and on it": (
        "COPY a /app/",
        "FROM s AS t",
        "COPY a /app/",
        "RUN ls /app/a",
    ),
    "from another stage": ("COPY a /1", "FROM base AS t", "COPY --from=s /1 /1", "RUN ls /1"),
    "from the stage below": ("COPY a /1", "FROM s AS t", "COPY --from=s /1 /1", "RUN ls /1"),
    "mounted": ("COPY a /1", "COPY a /1", "FROM base AS t", "RUN --mount=from=s,target=/s cat /s/1 > /r"),
    "filling a cache mount": (
        "COPY a /c/1",
        "COPY a /c/1",
        "FROM base AS t",
        "RUN --mount=type=cache,from=s,source=/c,target=/k cat /k/1 > /r",
    ),
}


@pytest.mark.parametrize("name", EQUAL_LAYERS)
def test_equal_layers_in_one_chain(world: World, name: str) -> None:
    succeed(world, *both("FROM base AS s", *EQUAL_LAYERS[name]))


def test_a_base_image_that_holds_a_layer_twice(world: World) -> None:
    base = lines("FROM base", "COPY a /x", "COPY a /x")
    succeed(world, *both("FROM onb", "RUN cat /x > /r", "COPY a /x", base=base))


def test_equal_layers_that_came_about_in_other_builds(world: World) -> None:
    succeed(
        world,
        Build(lines("FROM base", "RUN echo a > /f", "RUN touch /f")),
        Build(lines("FROM base", "RUN echo a > /f", "RUN touch /f", "RUN echo b >> /f")),
        Build(lines("FROM base", "RUN touch /f; echo a > /f", "RUN echo a > /f", "RUN echo b >> /f")),
    )


# What reads a cache mount runs where what fills it ran with something else.

FILL = "RUN --mount=target=/src --mount=type=cache,target=/build cp /src/a /build/app"
READ = "RUN --mount=type=cache,target=/build cp /build/app /app"


def test_a_cache_mount_that_is_filled_from_a_changed_context(world: World) -> None:
    text = lines("FROM base", FILL, READ)
    succeed(
        world, Build(text), Build(text, files=changed({"a": File("new")})), Build(text, files=changed({"a": File("3")}))
    )


def test_a_cache_mount_that_is_filled_by_another_command(world: World) -> None:
    one, other = (f"RUN --mount=type=cache,target=/build echo {text} > /build/app" for text in ("one", "other"))
    succeed(world, Build(lines("FROM base", one, READ)), Build(lines("FROM base", other, READ)))


def test_a_cache_mount_with_another_id(world: World) -> None:
    def text(identity: str) -> str:
        mount = f"--mount=type=cache,id={identity},target=/build"
        fill = f"RUN {mount} [ -e /build/app ] || echo {{}} > /build/app"
        return lines("FROM base", fill.format(1), f"RUN {mount} cat /build/app >> /app; echo >> /build/app")

    succeed(world, Build(text("one")), Build(text("two")))


BETWEEN = {
    "COPY --from": ("COPY --from=s /marker /marker",),
    "a mounted stage": (),
    "the stage below": (),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_a_cache_mount_that_is_filled_in_another_stage(world: World, name: str) -> None:
    read = READ.replace("RUN", "RUN --mount=from=s,target=/s") if name == "a mounted stage" else READ
    below = "FROM s AS t" if name == "the stage below" else "FROM base AS t"
    text = lines("FROM base AS s", "RUN touch -d @0 /marker", FILL, below, *BETWEEN[name], read)
    succeed(world, Build(text), Build(text, files=changed({"a": File("new")})))


def test_a_cache_mount_that_is_filled_from_a_changed_stage(world: World) -> None:
    fill = "RUN --mount=from=s,target=/src --mount=type=cache,target=/build cat /src/v > /build/app"
    first, second = (
        lines("FROM base AS s", f"RUN echo {text} > /v", "FROM base AS t", fill, READ) for text in ("one", "other")
    )
    succeed(world, Build(first), Build(second))


# Times that are set on purpose


def test_the_date_of_a_copied_file(world: World) -> None:
    succeed(world, *both("FROM base", "COPY a /f9", "RUN touch -d @86400 /f9", dates={"f9": 86_400}))


def test_another_date(world: World) -> None:
    def text(date: int) -> str:
        return lines("FROM base", f"RUN echo a > /f && touch -d @{date} /f", "RUN stat -c %Y /f > /out")

    succeed(
        world,
        Build(text(100), dates={"f": 100}),
        Build(text(200), dates={"f": 200}),
        Build(text(300), dates={"f": 300}, no_cache=True),
        Build(text(100), dates={"f": 100}),
    )


def test_dates_of_directories_alone(world: World) -> None:
    dates = {"bin": 0, "etc": 0, "root": 0}
    succeed(world, *both("FROM base", "RUN touch -d @0 /bin /etc /root", "RUN [ $(stat -c %Y /bin) = 0 ]", dates=dates))


def test_dates_that_cp_and_tar_carry_on(world: World) -> None:
    dates = {"f": 86_400, "g": 86_400, "o/d/f": 86_400, "in/f": 500_000_000}
    succeed(
        world,
        *both(
            "FROM base",
            "RUN mkdir /o && touch -d @86400 /f && cp -p /f /g && mkdir -p /d1/d && cp -p /f /d1/d/",
            "RUN tar cf /t -C /d1 d && tar xf /t -C /o && rm -r /t /d1",
            "COPY t.tar /",
            "RUN tar xf t.tar && rm t.tar",
            dates=dates,
        ),
    )


def test_source_date_epoch_and_what_the_store_has_seen_before(world: World) -> None:
    command = "RUN mkdir /app && echo hi > /app/f && touch -d @$SOURCE_DATE_EPOCH /app/f /app"
    text = lines("FROM base", "ARG SOURCE_DATE_EPOCH", command)
    succeed(
        world,
        Build(text, epoch=1_000_000_000),
        Build(text, epoch=1_300_000_000, rewrite=True),
        Build(text, epoch=1_300_000_000),
        Build(text, epoch=1_000_000_000, rewrite=True),
    )


# Cache mounts and owners


def test_cache_mounts_of_one_id_with_other_owners(world: World) -> None:
    one = "RUN --mount=type=cache,target=/app/cache touch /app/cache/x"
    mount = "--mount=type=cache,target=/app/cache,uid=1000,gid=1000"
    other = ("USER 1000:1000", f"RUN {mount} touch /app/cache/y && stat -c '%u %g %a' /app/cache > /tmp/r")
    succeed(world, Build(lines("FROM busybox", one)), Build(lines("FROM busybox", *other)))


def test_the_owner_of_a_cache_mount_that_looks_like_its_source(world: World) -> None:
    succeed(
        world,
        *both(
            "FROM busybox AS s",
            "RUN mkdir -p /home/u/.npm && chown 1000:1001 /home/u/.npm && chmod 750 /home/u/.npm",
            "FROM busybox",
            "USER 1000",
            "RUN --mount=type=cache,from=s,source=/home/u/.npm,target=/c "
            "touch /c/x && [ \"$(stat -c '%u %g %a' /c)\" = '1000 1001 750' ]",
        ),
    )


def test_owner_and_mode_of_a_cache_mount_that_was_used_otherwise(world: World) -> None:
    use = "RUN --mount=type=cache,target=/mycache,uid=1001,gid=1002,mode=0751"
    succeed(
        world,
        Build(lines("FROM busybox", "RUN --mount=type=cache,target=/mycache touch /mycache/x")),
        Build(lines("FROM busybox", f"{use} [ \"$(stat -c '%u %g %f' /mycache)\" = '1001 1002 41e9' ]")),
    )


def test_a_directory_that_cannot_be_made(world: World) -> None:
    build = Build(lines("FROM base", "RUN touch /fresh", "WORKDIR /fresh"))
    assert not world.act(build), "an error of the build file, cached or not"
    assert not world.act(build)


# What the store itself says afterwards


@pytest.mark.parametrize("made", ["ln -s a /l", "mkfifo /l", "touch /l"])
def test_a_layer_with_hard_links_of_any_kind_is_whole(world: World, made: str) -> None:
    succeed(world, *both("FROM base", f"RUN {made} && ln /l /m", "FROM base", "COPY --from=0 /l /m /x/"))
    world.check()


# In another store that imports the cache


def test_dates_and_mounts_in_another_store(world: World) -> None:
    text = lines("FROM base", FILL, READ, "COPY a /f", "RUN touch -d @100 /f")
    build = Build(text, dates={"f": 100})
    world.start()
    assert world.act(build)
    world.act(Move(build))
    assert world.act(build)
    assert world.act(build._replace(text=text.replace("@100", "@200"), dates={"f": 200}))
    assert world.act(build._replace(files=changed({"a": File("new")})))
