"""Which way of showing progress: what `--progress` says."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from buildah_py import debug
from buildah_py.errors import UsageError
from buildah_py.progress.text import Uncommanded, is_read_for_commands

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    from buildah_py.progress.renderer import Renderer

MODES = ("auto", "tty", "plain", "json", "rawjson", "quiet")
JSON = ("json", "rawjson")


def renderer(mode: str, *, err: TextIO, out: TextIO, env: Mapping[str, str]) -> Renderer:
    """Make the renderer of that name, a context manager and a sink; `auto` is tty where `err` is a terminal.

    With --debug `auto` is plain, or log and progress would be written over each other. `env` is asked for NO_COLOR,
    FORCE_COLOR, TERM, GITHUB_ACTIONS and GITLAB_CI. Raises UsageError for a mode that does not exist, and for tty
    without a terminal.
    """
    raw = err
    if is_read_for_commands(env) and mode not in JSON:
        err = cast("TextIO", Uncommanded(err))
    terminal = err.isatty()
    dumb = env.get("TERM", "dumb") in ("", "dumb")
    forced = env.get("FORCE_COLOR", "") not in ("", "0", "false")
    colour = (forced or (terminal and not dumb)) and not env.get("NO_COLOR")
    if mode == "auto":
        mode = "tty" if terminal and not dumb and not debug.is_on() else "plain"
    if mode == "plain":
        from buildah_py.progress.plain import PlainText

        plain = PlainText(err, out)
        plain.colour = colour
        if is_read_for_commands(env) or env.get("GITLAB_CI"):
            from buildah_py.progress.folding import folding

            plain.folding = folding(raw, env)
        return plain
    if mode == "tty":
        if not terminal:
            raise UsageError(
                "--progress=tty: the standard error is not a terminal",
                hint="use --progress=plain, or auto, which decides",
            )
        from buildah_py.progress.tty import Tty

        return Tty(err, out, colour=colour)
    if mode == "json":
        from buildah_py.progress.jsonlines import JsonLines

        return JsonLines(err, out)
    if mode == "rawjson":
        from buildah_py.progress.rawjson import SolveStatusLines

        return SolveStatusLines(err, out)
    if mode == "quiet":
        from buildah_py.progress.quiet import Quiet

        return Quiet(err, out)
    raise UsageError(f"--progress={mode}: there is no such mode", hint=f"the modes are {', '.join(MODES)}")
