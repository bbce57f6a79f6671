"""COPY and ADD."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.buildfile import tree
from buildah_py.buildfile.expand import ExpansionError
from buildah_py.buildfile.lines import read_delimiter
from buildah_py.buildfile.statement import Flags
from buildah_py.errors import BuildFileError

if TYPE_CHECKING:
    from buildah_py.buildfile.statement import Common, Statement
    from buildah_py.buildfile.tree import Heredoc, Instruction, Word


def _copied(statement: Statement) -> tuple[tuple[Word, ...], Word, tuple[Heredoc, ...], bool]:
    """Return sources, destination, the here-documents among the sources, and whether all was written in JSON."""
    strings = statement.json()
    span = statement.whole().span
    words = statement.items() if strings is None else [tree.Word(text, span) for text in strings]
    if len(words) < 2:
        raise statement.error(
            f"{statement.name} requires at least two arguments, but only one was provided. "
            "Destination could not be determined",
            hint=f"write {statement.name} SOURCE DESTINATION",
        )
    if _heredoc(words[-1].text) is not None:
        raise BuildFileError(
            f"{statement.name} cannot accept a heredoc as a destination", statement.source, words[-1].span
        )
    sources = []
    documents = []
    bodies = {document.name: document for document in statement.heredocs}
    for word in words[:-1]:
        document = _heredoc(word.text)
        if document is None:
            sources.append(word)
        else:
            body = bodies[document.name].body if document.name in bodies else ""
            documents.append(
                tree.Heredoc(document.name, document.fd, document.expand, document.strip_tabs, body, word.span)
            )
    return tuple(sources), words[-1], tuple(documents), strings is not None


def _heredoc(text: str) -> Heredoc | None:
    if "<<" not in text:
        return None
    try:
        return read_delimiter(text)
    except ExpansionError:
        return None


def copy(statement: Statement, common: Common) -> Instruction:
    """Return the node for COPY."""
    sources, destination, documents, json = _copied(statement)
    flags = Flags(statement, ("chown", "from", "chmod", "exclude*"), ("link", "parents"))
    from_ = flags.word("from")
    if from_ is not None and not statement.extensions:
        _check_from(statement, from_)
    common["heredocs"] = documents
    return tree.Copy(
        **common,
        sources=sources,
        destination=destination,
        from_=from_,
        chown=flags.word("chown"),
        chmod=flags.word("chmod"),
        link=flags.boolean("link") or False,
        parents=flags.boolean("parents") or False,
        exclude=flags.words("exclude"),
        json=json,
    )


def _check_from(statement: Statement, from_: Word) -> None:
    from buildah_py.buildfile.expand import expand

    try:
        if expand(from_.text, {}, statement.escape) == from_.text:
            return
    except ExpansionError as error:
        raise BuildFileError(error.message, statement.source, from_.span) from None
    raise BuildFileError(
        "variable expansion is not supported for --from, "
        "define a new stage with FROM using ARG from global scope as a workaround",
        statement.source,
        from_.span,
        hint="a file that starts with `# syntax=pybuild/1` may have variables here",
    )


def add(statement: Statement, common: Common) -> Instruction:
    """Return the node for ADD."""
    sources, destination, documents, json = _copied(statement)
    flags = Flags(statement, ("chown", "chmod", "checksum", "exclude*"), ("link", "keep-git-dir", "unpack"))
    common["heredocs"] = documents
    return tree.Add(
        **common,
        sources=sources,
        destination=destination,
        chown=flags.word("chown"),
        chmod=flags.word("chmod"),
        checksum=flags.word("checksum"),
        link=flags.boolean("link") or False,
        keep_git_dir=flags.boolean("keep-git-dir"),
        unpack=flags.boolean("unpack"),
        exclude=flags.words("exclude"),
        json=json,
    )
