"""All functions of the standard library by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from buildah_py.bake.functions import (
    collections,
    encodings,
    formats,
    networks,
    numbers,
    patterns,
    texts,
    times,
    types,
    versions,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from buildah_py.bake import syntax
    from buildah_py.bake.evaluation import Evaluation
    from buildah_py.bake.values import Value

FUNCTIONS: Final[Mapping[str, Callable[[Evaluation, syntax.Call], Value]]] = {
    **{
        name: function
        for module in (collections, encodings, formats, networks, numbers, patterns, texts, times, versions)
        for name, function in module.LIBRARY.functions.items()
    },
    "try": types.try_,
    "can": types.can,
    "convert": types.convert_,
}
