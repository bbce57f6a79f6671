"""Random histories: a project, edits to it, and what happens to the store meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hypothesis import strategies as st

from .inputs import CONTEXT, Dir, File, Link, Member, Move, Prune, Stop, Tar
from .projects import (
    BASE,
    ONBUILD,
    Again,
    Argument,
    Change,
    Dated,
    Delete,
    Edit,
    Epoch,
    Insert,
    Mounted,
    Mounts,
    Plain,
    Project,
    Put,
    Reader,
    Redate,
    Replace,
    Slot,
    Stage,
    Step,
    Swap,
    Trigger,
    Writer,
    render,
)

if TYPE_CHECKING:
    from .world import World


class Options(NamedTuple):
    """How a project is built: nothing is looked up, or nothing of a stage; one stage alone is built."""

    no_cache: bool = False
    no_cache_stage: int | None = None
    target: int | None = None


class Event(NamedTuple):
    """What happens before a build.

    The store is pruned, or another one goes on with its exported cache, or a build of the same ends early at an event.
    """

    prune: Prune | None = None
    stop: int = 0
    kill: bool = False
    move: bool = False


class Turn(NamedTuple):
    """Edits (or, with `back`, the project as it was so many turns ago), what happens then, and a build."""

    edits: tuple[Edit, ...] = ()
    back: int = 0
    event: Event = Event()
    options: Options = Options()


class History(NamedTuple):
    """A project and what becomes of it."""

    project: Project
    turns: tuple[Turn, ...]

    def __repr__(self) -> str:
        return "a history"

    def play(self, world: World) -> None:
        """Build it again and again. Raises WrongError."""
        world.start()
        mounted = Mounted()
        projects = [self.project]
        for turn in (Turn(), *self.turns):
            project = projects[-1 - turn.back % len(projects)]
            for edit in turn.edits:
                project = edit.apply(project)
            projects.append(project)
            if turn.event.prune:
                world.act(turn.event.prune)
                mounted.pruned()
            target = turn.options.target
            if turn.event.move:
                world.act(Move(render(project, mounted, target=target)))
                mounted.built(well=False)
                mounted.pruned()
            if turn.event.stop:
                build = render(project, mounted, target=target)
                world.act(Stop(build, turn.event.stop, turn.event.kill))
                mounted.built(well=False)
            build = render(project, mounted, target=target)
            stage = turn.options.no_cache_stage
            build = build._replace(
                no_cache=turn.options.no_cache,
                no_cache_filter=() if stage is None else (f"s{stage % len(project.stages)}",),
            )
            mounted.built(well=world.act(build))
        world.check()


# Commands

FILES = ("/a", "/b", "/d/x", "/d/e/y", "/w/z")
DIRECTORIES = ("/d", "/d/e", "/w")
_VALUES = st.sampled_from(("1", "2", "3"))
_FILE = st.sampled_from(FILES)
_PATH = st.sampled_from(FILES + DIRECTORIES)
_DIRECTORY = st.sampled_from(DIRECTORIES)
_MODE = st.sampled_from(("600", "644", "700", "755", "4755", "1777", "2750"))
_OWNER = st.sampled_from(("0:0", "1000:1000", "7:8", "daemon:daemon"))
_SECONDS = st.sampled_from((0, 100, 200, 86_400, 1_000_000_000, 1_400_000_000))
_FIND = "found=$(find /a /b /d /w /etc/passwd -exec stat -c"  # all read before something is written
_LIST = f"{_FIND} '%n %a %u %g %F %N' {{}} + 2>/dev/null); echo \"$found\" | sort > /r"
_TIMES = f"{_FIND} '%Y %n' {{}} + 2>/dev/null); echo \"$found\" | awk '$1 < 1420000000' | sort > /r"


def _command() -> st.SearchStrategy[str]:
    """Give shell commands whose result depends on nothing but the file system, and on the clock in times alone."""

    def form(text: str, **parts: st.SearchStrategy[object]) -> st.SearchStrategy[str]:
        return st.builds(text.format, **parts)

    return st.one_of(
        form("echo {v} > {p}", v=_VALUES, p=_FILE),
        form("touch -d @{t} {p}", t=_SECONDS, p=_PATH),
        form("touch {p}", p=_PATH),
        form("rm -rf {p}", p=_PATH),
        form("chmod {m} {p}", m=_MODE, p=_PATH),
        form("chown -h {o} {p}", o=_OWNER, p=_PATH),
        form("mkdir -p {p}", p=_DIRECTORY),
        form("cp -p {p} {q}", p=_FILE, q=_PATH),
        form("echo {v} >> {p}", v=_VALUES, p=_FILE),
        form("mv {p} {q}", p=_PATH, q=_PATH),
        form("ln -f {p} {q}", p=_FILE, q=_FILE),
        form("ln -sfn {p} {q}", p=_PATH, q=_PATH),
        form("echo {v} > {p} && touch -d @{t} {p}", v=_VALUES, t=_SECONDS, p=_FILE),
        form("rm -rf {p} && echo {v} > {p}", v=_VALUES, p=_FILE),
        form("touch -r {p} {q}", p=_PATH, q=_PATH),
        form("touch -hd @{t} {p}", t=_SECONDS, p=_PATH),
        form("cp {p} {q}", p=_FILE, q=_PATH),
        form("rm -rf {p} && cp -a {q} {p}", p=_DIRECTORY, q=_DIRECTORY),
        form("tar cf /t -C / {p}; mkdir -p {q}; tar xf /t -C {q}; rm /t", p=st.sampled_from(("a", "d")), q=_DIRECTORY),
        form("tar xf {p} -C {q}", p=st.sampled_from(("/t.tar", "/w/t.tar")), q=_DIRECTORY),
        form("head -c 99 {p} {q} > /r", p=_FILE, q=_FILE),
        st.just(_LIST),
        st.just(_TIMES),
        form("ls -1A {p} > /r", p=_DIRECTORY),
        form("echo $A-$B >> {p}", p=_FILE),
        form("id -u > {p}; pwd >> {p}", p=_FILE),
        st.just("echo u1:x:1000:1000::/:/bin/sh >> /etc/passwd"),
        st.just("sed -i /^u1:/d /etc/passwd"),
        form("[ -p {p} ] || rm -rf {p}; mkfifo {p}", p=st.just("/d/p")),
        form("truncate -s 5000 {p}", p=_FILE),
        form("chmod 700 {p}; chmod 755 {p}", p=_DIRECTORY),
    )


_CACHE_FROM = "--mount=type=cache,id=f,from=@S,source=/d,target=/k"
_TEMPORARY = "--mount=type=tmpfs,target=/tf"
_MOUNTS = (
    "",
    "--mount=target=/src",
    "--mount=source=dir,target=/src",
    "--mount=from=@S,target=/src",
    "--mount=from=@S,source=/d,target=/src",
    "--mount=target=/src,rw",
)
_READS = (
    "head -c 99 /src/a /src/x > /r",
    "rm -rf /d/e; cp -p -r /src/sub /src/e /d",
    "echo 1 > /src/a; cat /src/a > /r",
    "ls -1A /src/ > /r",
    "cp -a /src/x /src/sub /w/ ; rm -f /src/x",
)


_slots = st.sampled_from((Slot(), Slot(1000, 1000), Slot(mode=0o777), Slot(7, 8, 0o751)))
_OWNER_OF = "stat -c '%u %g %a'"


@st.composite
def _owned(draw: st.DrawFn) -> Plain:
    """Give a RUN that looks whose a cache mount is, or whether one looks like the directory that it began with."""
    if draw(st.booleans()):
        return Plain(f"RUN --mount=@M {_OWNER_OF} /m > {draw(st.sampled_from(('/r', '/d/x')))}; true")
    begun, source = (
        f"--mount=type=cache,id=b,from=@S,source={draw(_DIRECTORY)},target=/m",
        "--mount=from=@S,target=/src",
    )
    where = begun.partition("source=")[2].partition(",")[0]
    test = f'[ ! -d /src{where} ] || [ -L /src{where} ] || [ "$({_OWNER_OF} /m)" = "$({_OWNER_OF} /src{where})" ]'
    return Plain(f"RUN {begun} {source} {test} || exit 77", draw(st.integers(0, 2)))


@st.composite
def _run(draw: st.DrawFn) -> Plain:
    kind = draw(st.integers(0, 9))
    if kind == 9:
        text = draw(
            st.sampled_from(
                (
                    f"RUN {_TEMPORARY} echo 1 > /tf/x; ls /tf > /r; cp /tf/x /w/",
                    "RUN [ -e /d/x ]",
                    "RUN exit 3",
                    f"RUN {_CACHE_FROM} {{ ls -1A /k; stat -c '%u %g %a' /k; }} > /r",
                    f"RUN <<EOF\n{_LIST}\nEOF",
                    'RUN ["touch", "-d", "@300", "/w"]',
                    "RUN --mount=from=@S,source=/d,target=/src [ $(stat -c %a /d) = $(stat -c %a /src) ] || echo > /r",
                )
            )
        )
        return Plain(text, draw(st.integers(0, 2)))
    if kind == 8:
        mount = draw(st.sampled_from(_MOUNTS[1:]))
        return Plain(f"RUN {mount} {draw(st.sampled_from(_READS))}; true", draw(st.integers(0, 2)))
    commands = draw(st.lists(_command(), min_size=1, max_size=3))
    return Plain(f"RUN {'; '.join((*commands, 'true'))}")


_COPIES = (
    "a /a",
    "a /d/",
    "a b /d/",
    "a b c.txt /w/",
    "dir /d",
    "dir/ /d/",
    "dir /w/",
    "*.txt /w/",
    "d* /d/",
    ". /w/",
    "empty /d/",
    "link /w/",
    "t.tar /",
    "dir/x /d/x",
    "nothing* /d/",
    "nothing /d/",
)
_FLAGS = (
    "",
    "--link ",
    "--chown=1000:1000 ",
    "--chown=daemon:root ",
    "--chown=u1 ",
    "--chmod=600 ",
    "--chmod=4711 ",
    "--parents ",
    "--exclude=*x* ",
    "--exclude=sub ",
    "--link --chmod=640 ",
    "--link --chown=3:4 ",
)
_FROM = (
    "/d /d",
    "/d/ /w/",
    "/a /b",
    "/a /w/",
    "/a /d/x /w/",
    "/d/x /d/",
    "/r /r1",
    "/etc/passwd /w/",
    "/d /w /w/",
    "/w/* /d/",
)


@st.composite
def _copy(draw: st.DrawFn) -> Plain:
    kind = draw(st.integers(0, 5))
    flags = draw(st.sampled_from(_FLAGS))
    if kind == 5:
        return Plain(f"COPY {flags}<<x /d/x\n{draw(_VALUES)}\nx".replace("--parents ", ""))
    if kind >= 3:
        return Plain(f"COPY --from=@S {flags}{draw(st.sampled_from(_FROM))}", draw(st.integers(0, 2)))
    return Plain(f"{draw(st.sampled_from(('COPY', 'COPY', 'ADD')))} {flags}{draw(st.sampled_from(_COPIES))}")


_OTHERS = (
    "WORKDIR /w",
    "WORKDIR e",
    "ENV A=1",
    "ENV A=$B",
    "ARG A",
    "ARG A=2",
    "ARG B=3",
    "LABEL l=$A",
    "USER 1000",
    "USER root",
    "USER daemon",
    'CMD ["$A"]',
    "VOLUME /w",
    'SHELL ["/bin/sh", "-ec"]',
    "ARG SOURCE_DATE_EPOCH\nRUN echo 1 > /w/s; touch -d @${SOURCE_DATE_EPOCH:-500} /w/s /w; true",
)

_dated = st.builds(Dated, st.sampled_from((*DIRECTORIES, *FILES, "/bin", "/etc", "/home")), _SECONDS)
_SLOT = st.sampled_from((0, 0, 1))
_READ_TO = ("/r", "/d/x", "/w/z")
_writer = st.builds(
    Writer,
    _SLOT,
    st.sampled_from(("context", "context", "", "stage")),
    st.integers(0, 2),
    st.sampled_from((*_READ_TO, "")),
)
_reader = st.builds(Reader, _SLOT, st.sampled_from(_READ_TO))


@st.composite
def _step(draw: st.DrawFn) -> Step:
    kind = draw(st.integers(0, 16))
    if kind < 7:
        return draw(_run())
    if kind < 11:
        return draw(_copy())
    if kind < 12:
        return Plain(draw(st.sampled_from(_OTHERS)))
    kinds: tuple[st.SearchStrategy[Step], ...] = (_dated, _writer, _writer, _reader, _owned())
    return draw(kinds[kind - 12])


_PLACE = st.integers(0, 7)
_STAGE = st.integers(0, 2)
_TEXTS = st.sampled_from(("a", "b", "x", "longer"))
_nodes = st.one_of(
    st.builds(
        File, _TEXTS, st.sampled_from((0o644, 0o755, 0o400)), st.integers(1_420_000_000, 1_420_000_009), st.just("")
    ),
    st.just(Link("b")),
    st.just(Dir(0o755)),
    st.none(),
)
_archives = st.builds(
    Tar,
    st.lists(
        st.builds(
            Member,
            st.sampled_from(("in/", "in/f", "g", "d/x")),
            _TEXTS,
            st.sampled_from((0o755, 0o700)),
            st.sampled_from((0, 1000)),
            st.sampled_from((300, 400_000_000)),
            st.just(""),
        ),
        max_size=3,
    ).map(tuple),
    st.just(0o644),
    st.just(1_420_000_000),
)
_NAMES = tuple(sorted(CONTEXT))
_PATTERNS = (
    "a", "dir", "dir/*", "**/*.md", "*", "dir/sub", "d", "*.txt",
    "!a", "!dir/x", "!dir/new", "!dir/sub/deep/er", "!dir/sub", "!**/z", "!*.txt",
)  # fmt: skip
_ignoring = st.builds(
    Put,
    st.just(".dockerignore"),
    st.none() | st.lists(st.sampled_from(_PATTERNS), min_size=1, max_size=4).map(lambda found: File("\n".join(found))),
)

_changes = st.one_of(
    st.builds(Change, st.sampled_from(_NAMES), st.just("data"), _TEXTS),
    st.builds(Change, st.sampled_from(_NAMES), st.just("mode"), st.sampled_from((0o600, 0o755, 0o4755))),
    st.builds(Change, st.sampled_from(_NAMES), st.just("mtime"), st.integers(1_420_000_000, 1_429_999_999)),
    st.builds(Change, st.sampled_from(_NAMES), st.just("xattr"), st.sampled_from(("", "1", "2"))),
)
_triggers = st.lists(st.one_of(_run(), _copy()), max_size=2).map(tuple)

_EDITS: tuple[tuple[int, st.SearchStrategy[Edit]], ...] = (
    (3, st.builds(Change, st.just("a"), st.just("data"), _TEXTS)),
    (3, st.builds(Replace, _STAGE, _PLACE, _step())),
    (3, st.builds(Insert, _STAGE, _PLACE, _step())),
    (2, st.builds(Delete, _STAGE, _PLACE)),
    (2, st.builds(Swap, _STAGE, _PLACE)),
    (2, st.builds(Redate, _STAGE, _SECONDS)),
    (2, st.builds(Again, _STAGE, _PLACE)),
    (3, _changes),
    (2, st.builds(Put, st.sampled_from((*_NAMES, "dir/new", "new.txt", "dir/sub/deep/er")), _nodes)),
    (1, st.builds(Put, st.just("t.tar"), _archives)),
    (1, _ignoring),
    (2, st.builds(Argument, st.sampled_from("AB"), st.sampled_from((None, "4", "5")))),
    (2, st.builds(Epoch, st.sampled_from((None, 1_000_000_000, 1_300_000_000)), st.booleans())),
    (3, st.builds(Mounts, _SLOT, _slots)),
    (1, st.builds(Trigger, _triggers)),
)
_WEIGHED = tuple(edit for weight, edit in _EDITS for _ in range(weight))


@st.composite
def _edits(draw: st.DrawFn) -> Edit:
    return draw(_WEIGHED[draw(st.integers(0, len(_WEIGHED) - 1))])


@st.composite
def _event(draw: st.DrawFn) -> Event:
    kind = draw(st.integers(0, 15))
    if kind == 12:
        return Event(move=True)
    if kind == 13:
        return Event(Prune(draw(st.booleans())))
    if kind == 14:
        place = draw(st.integers(2, 20))
        return Event(stop=place, kill=place % 5 == 4)
    return Event(stop=draw(st.integers(2, 20))) if kind == 15 else Event()


@st.composite
def _options(draw: st.DrawFn) -> Options:
    kind = draw(st.integers(0, 15))
    if kind == 13:
        return Options(no_cache_stage=draw(_STAGE))
    if kind == 14:
        return Options(target=draw(_STAGE))
    return Options(no_cache=kind == 15)


@st.composite
def _turn(draw: st.DrawFn) -> Turn:
    if draw(st.integers(0, 9)) == 9:
        return Turn(back=draw(st.integers(1, 3)), event=draw(_event()), options=draw(_options()))
    edits = draw(st.lists(_edits(), min_size=1, max_size=2))
    return Turn(tuple(edits), event=draw(_event()), options=draw(_options()))


_stages = st.builds(
    Stage, st.lists(_step(), min_size=1, max_size=5).map(tuple), st.sampled_from((BASE, 0, 1, 1, ONBUILD))
)


@st.composite
def _projects(draw: st.DrawFn) -> Project:
    stages = tuple(draw(st.lists(_stages, min_size=1, max_size=3)))
    if draw(st.integers(0, 5)) < 5:
        return Project(stages)
    return Project(stages, triggers=draw(_triggers))


def histories(turns: int) -> st.SearchStrategy[History]:
    """Give histories of at most so many edits."""
    return st.builds(History, _projects(), st.lists(_turn(), min_size=1, max_size=turns).map(tuple))


# Histories in which steps stay and files change: most hits are those of what was read


_LOOKS = (
    "[ -e {p} ] && echo yes > /r",
    "cat {p} > /r",
    "test -x {p} && echo yes > /d/r",
    "readlink {p} > /r",
    "cd {d} && ls > /r",
    "for f in {d}/*; do echo $f; done > /r",
    "cmp {p} {q} > /r",
    "cp {p} /w/k; cat /w/k {q} > /dev/null",
    "cat {d}/*.txt > /r",
    "sh {p}; ln {p} {q}",
    ": > {p}; cp -p {q} {p}",
    "rm -r {d}; mkdir {d}; echo 1 > {d}/n",
    "mv {d} /e; mv /e/* /w",
    "chmod -R g+w {d}",
)


@st.composite
def _look(draw: st.DrawFn) -> Plain:
    commands = []
    for _ in range(draw(st.integers(1, 2))):
        if draw(st.booleans()):
            commands.append(draw(_command()))
        else:
            text = draw(st.sampled_from(_LOOKS))
            commands.append(text.format(p=draw(_FILE), q=draw(_FILE), d=draw(_DIRECTORY)))
    return Plain(f"RUN {{ {'; '.join(commands)}; }} 2>/dev/null; true")


_WATCHED = (
    "COPY . /",
    "COPY . /w/",
    "COPY dir /d",
    "COPY dir/ /w/",
    "COPY a b /d/",
    "COPY --chown=7:8 . /d/",
    "ADD . /",
)
_watched_step = st.one_of(
    _look(),
    _look(),
    _look(),
    st.sampled_from(_WATCHED).map(Plain),
    _copy(),
    st.sampled_from(("WORKDIR /w", "WORKDIR /d/e", "USER 1000", "USER daemon", "ENV A=1")).map(Plain),
)


@st.composite
def _watched_stage(draw: st.DrawFn) -> Stage:
    first = Plain(draw(st.sampled_from(_WATCHED)))
    steps = draw(st.lists(_watched_step, min_size=1, max_size=4))
    return Stage((first, *steps), draw(st.sampled_from((BASE, BASE, 0))))


_file_edits = st.one_of(
    _changes,
    _ignoring,
    st.builds(Put, st.sampled_from((*_NAMES, "dir/new", "new.txt", "dir/sub/deep/er", "d/x", "w", "dir/e")), _nodes),
)
_watched_turn = st.builds(
    Turn,
    st.lists(_file_edits, min_size=1, max_size=2).map(tuple),
    st.sampled_from((0, 0, 0, 0, 1)),
    st.one_of(st.just(Event()), st.just(Event()), _event()),
)


def watched_histories(turns: int) -> st.SearchStrategy[History]:
    """Give histories in which files are edited and hardly anything else, of at most so many edits."""
    projects = st.lists(_watched_stage(), min_size=1, max_size=2).map(lambda stages: Project(tuple(stages)))
    return st.builds(History, projects, st.lists(_watched_turn, min_size=1, max_size=turns).map(tuple))
