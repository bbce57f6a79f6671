"""Ingredients of a step's key, with what is known of the step beside them, so that two steps can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from buildah_py.cache.keys import KEY_VERSION
from buildah_py.frozen import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping


class StepBelow(NamedTuple):
    """The base that a step runs on: an image by its `name` and id (`image`), or else the step `number` of `stage`."""

    name: str = ""
    image: str = ""
    stage: str = ""
    number: int = 0
    text: str = ""

    @property
    def label(self) -> str:
        """Name of the step: `2 of build` or `2`."""
        return f"{self.number} of {self.stage}" if self.stage else str(self.number)


NOTHING_BELOW = StepBelow()


class InputNote(NamedTuple):
    """Names of an input: its tree (`where`), whether that is a build context, and where the sources lie in it."""

    where: str = ""
    context: bool = False
    bases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class About:
    """Facts about a step that enter no key: where it stands, and what its ingredients are called.

    `arguments` are the variables that ARG and not ENV has set, `sources` those of a COPY or ADD as written, `on` and
    `chain` the chain digests of the file systems before and after it ("" where unknown), `builds` the portable names of
    the build that it belongs to, `pybuild` the version that executed it.
    """

    stage: str = ""
    number: int = 0
    text: str = ""
    arguments: tuple[str, ...] = ()
    sources: str = ""
    inputs: Mapping[str, InputNote] = field(default_factory=dict)
    below: StepBelow = NOTHING_BELOW
    on: str = ""
    chain: str = ""
    builds: tuple[str, ...] = ()
    pybuild: str = ""

    def to_data(self) -> dict[str, object]:
        """Plain data; `read_about` is the inverse."""
        return {
            "stage": self.stage,
            "number": self.number,
            "text": self.text,
            "arguments": list(self.arguments),
            "sources": self.sources,
            "inputs": {name: [note.where, note.context, list(note.bases)] for name, note in self.inputs.items()},
            "below": list(self.below),
            "on": self.on,
            "chain": self.chain,
            "builds": list(self.builds),
            "pybuild": self.pybuild,
        }


@dataclass(frozen=True, slots=True)
class Ingredients:
    """A key's ingredients: those of `step_key`. None stands for a parent or an input that is not known yet."""

    parent: str | None
    canonical: Mapping[str, object]
    inputs: Mapping[str, str | None]
    about: About
    version: int = KEY_VERSION

    @property
    def kind(self) -> str:
        """Run, copy, add, workdir or capture."""
        return str(self.canonical.get("op", ""))


def read_about(raw: object) -> About:
    """Read what `About.to_data` gave; whatever is not of its form, of an older or a foreign record, is left out."""
    data = raw if isinstance(raw, dict) else {}
    below = data.get("below")
    inputs = data.get("inputs")
    return About(
        stage=_text(data.get("stage")),
        number=_number(data.get("number")),
        text=_text(data.get("text")),
        arguments=_texts(data.get("arguments")),
        sources=_text(data.get("sources")),
        inputs={
            name: InputNote(_text(note[0]), bool(note[1]), _texts(note[2]))
            for name, note in (inputs.items() if isinstance(inputs, dict) else ())
            if isinstance(note, list) and len(note) == 3
        },
        below=_below(below) if isinstance(below, list) and len(below) == 5 else NOTHING_BELOW,
        on=_text(data.get("on")),
        chain=_text(data.get("chain")),
        builds=_texts(data.get("builds")),
        pybuild=_text(data.get("pybuild")),
    )


def _below(raw: list[Any]) -> StepBelow:
    name, image, stage, number, text = raw
    return StepBelow(_text(name), _text(image), _text(stage), _number(number), _text(text))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _texts(value: object) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()
