"""The commands of docker's buildx, and what becomes of each here. docs/flags.md lists them, made of this table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

WORKS: Final = "works"
NOTE: Final = "note"
REFUSED: Final = "refused"
COMMAND: Final = "buildx"
_BUILDER: Final = "--builder"


class Subcommand(NamedTuple):
    """A command of buildx: what is done with it, and in `text` how it differs, the note, or why it is refused.

    `words` are pybuild's for it; where there are none, `pybuild buildx` does it itself. `dropped` are options that
    mean nothing for these, with whether they take a value; `noted` are those of them that are spoken of, and why they
    have no effect.
    """

    name: str
    decision: str
    text: str = ""
    instead: str = ""
    words: tuple[str, ...] = ()
    dropped: tuple[tuple[str, bool], ...] = ()
    noted: tuple[tuple[str, str], ...] = ()


def _works(
    name: str,
    text: str,
    *words: str,
    dropped: tuple[tuple[str, bool], ...] = (),
    noted: tuple[tuple[str, str], ...] = (),
) -> Subcommand:
    return Subcommand(name, WORKS, text, "", words, dropped, noted)


def _refused(name: str, text: str, instead: str) -> Subcommand:
    return Subcommand(name, REFUSED, text, instead)


_TIMEOUT: Final = ("--timeout", True)
_FILTER: Final = ("--filter", True)
_LIST_OPTIONS: Final = (("--no-trunc", False), ("--local", False), _FILTER)
_NO_BUILDKIT: Final = "there is no BuildKit here that could be spoken to"
_REPORT: Final = "`pybuild report BUILD` writes a page about a build: timeline, stages, layers"

TABLE: Final = (
    _works("bake", "", "bake"),
    _works("build", "", "build"),
    _works("create", "gives the one builder a further name; `--driver docker` and `docker-container` say by it whether"
           " images go to docker's engine without --load; others are refused"),
    _refused("dap build", "build files are not stepped through", "`pybuild shell --at STAGE/STEP` opens a shell behind"
             " any step, `build --on-error=shell` in what a failed one left"),
    _refused("debug build", "build files are not stepped through", "`pybuild shell --at STAGE/STEP` opens a shell"
             " behind any step, `build --on-error=shell` in what a failed one left"),
    _refused("dial-stdio", _NO_BUILDKIT, "`pybuild serve` answers as Docker's engine does"),
    _works("du", "of the state directory: images, cache, cache mounts", "du", dropped=(_TIMEOUT, _FILTER),
           noted=(("--filter", "all of the state directory is counted"),)),
    _refused("history export", "a build is no bundle for Docker Desktop", _REPORT),
    _refused("history import", "a build is no bundle for Docker Desktop", _REPORT),
    _works("history inspect", "the build and its steps; the last one without a name", "builds"),
    _refused("history inspect attachment", "builds have no attachments",
             "`docker buildx imagetools inspect NAME` shows those of an image"),
    _works("history logs", "what the steps printed", "logs", dropped=(("--progress", True),),
           noted=(("--progress", "the steps' output is printed as it was"),)),
    _works("history ls", "", "builds", dropped=_LIST_OPTIONS,
           noted=(("--filter", "all builds are listed"), ("--local", "those of all directories are listed"))),
    _refused("history open", "there is no Docker Desktop to open it in", _REPORT),
    _refused("history rm", "builds are forgotten by themselves, the oldest first", "`pybuild prune --all` forgets all"),
    _refused("history trace", "no traces are recorded", _REPORT),
    _works("imagetools create", "in registries alone: nothing is built or kept"),
    _works("imagetools inspect", "`--format` knows Name, Manifest and Image"),
    _works("inspect", "the node is this machine; `--bootstrap` has nothing to start"),
    Subcommand("install", NOTE, "`docker build` is this program's already, with BuildKit as its default"),
    _works("ls", "the names that `create` gave the one builder"),
    _refused("policy eval", "policies in Rego are not evaluated", "--source-policy-file takes BuildKit's JSON"),
    _refused("policy test", "policies in Rego are not evaluated", "--source-policy-file takes BuildKit's JSON"),
    _works("prune", "", "prune", "--cache", dropped=(_TIMEOUT, ("--verbose", False))),
    _works("rm", "forgets a name"),
    Subcommand("stop", NOTE, "nothing runs between builds"),
    Subcommand("uninstall", NOTE, "`pybuild uninstall docker-plugin` takes this program away"),
    _works("use", "chooses a name for later builds"),
    _works("version", "that of buildx whose command line this is, with pybuild's own behind it"),
)  # fmt: skip
"""All of them, by name. Where a name has two words, the first is a group."""
SHORT: Final = {"b": "build", "f": "bake"}
GROUPS: Final = tuple(sorted({one.name.split()[0] for one in TABLE if " " in one.name}))


def find(words: list[str]) -> tuple[Subcommand | None, list[str]]:
    """Find the subcommand that `words` begin with, and what stands behind it."""
    for count in (3, 2, 1):
        name = " ".join([SHORT.get(words[0], words[0]), *words[1:count]]) if words[:1] else ""
        for one in TABLE:
            if one.name == name and len(words) >= count:
                return one, words[count:]
    return None, words


def translate(arguments: list[str], warn: Callable[[str], object]) -> list[str]:
    """Say what stands behind `buildx` in pybuild's words; what `pybuild buildx` does itself stays as it is.

    `warn` is told of options without effect. Raises UsageError for what is refused, and for a command that buildx has
    not.
    """
    builder: list[str] = []
    rest = list(arguments)
    while rest and rest[0].partition("=")[0] in (_BUILDER, "-D", "--debug"):
        if rest[0] == _BUILDER:
            builder, rest = rest[:2], rest[2:]
        elif rest[0].startswith(_BUILDER):
            builder, rest = rest[:1], rest[1:]
        else:
            from buildah_py import debug

            debug.switch_on()
            del rest[0]
    if not rest or rest[0] in ("-h", "--help", "help"):
        return [COMMAND, "--help"]
    found, behind = find(rest)
    if found is None:
        raise _unknown(rest)
    if found.decision == REFUSED:
        raise UsageError(f"`buildx {found.name}` is not supported: {found.text}", hint=found.instead)
    if not found.words:
        return [COMMAND, *found.name.split(), *builder, *behind]
    if found.name in ("build", "bake"):
        return [*found.words, *builder, *behind]
    for option, why in found.noted:
        if any(word.partition("=")[0] == option for word in behind):
            warn(f"{option} has no effect: {why}")
    behind = _without(behind, (*found.dropped, (_BUILDER, True)))
    if found.name.startswith("history "):
        behind = _references(behind) or (["^0"] if found.name == "history inspect" else [])
    return [*found.words, *behind]


def _references(words: list[str]) -> list[str]:
    """Give builds as buildx names them, `BUILDER/NODE/ID`, the names that they have here."""
    return [word if word.startswith("-") or word.count("/") != 2 else word.rpartition("/")[2] for word in words]


def _without(words: list[str], dropped: tuple[tuple[str, bool], ...]) -> list[str]:
    """Leave out options."""
    takes = dict(dropped)
    kept: list[str] = []
    position = 0
    while position < len(words):
        name, equals, _ = words[position].partition("=")
        if name not in takes:
            kept.append(words[position])
        elif takes[name] and not equals:
            position += 1
        position += 1
    return kept


def _unknown(words: list[str]) -> UsageError:
    from buildah_py.suggest import did_you_mean

    group = words[0] if words[0] in GROUPS else ""
    typed = " ".join(words[: 2 if group else 1])
    known = [one.name for one in TABLE if not group or one.name.startswith(f"{group} ")]
    hint = did_you_mean(typed, known) or f"there are {', '.join(known)}"
    return UsageError(f"there is no command `buildx {typed}`", hint=hint)
