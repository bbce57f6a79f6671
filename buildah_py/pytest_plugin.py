"""Fixtures for pytest: images that tests need, built once for all of them, and containers. Entry point: `pytest11`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from buildah_py.library.built import Built
    from buildah_py.library.containers import StartedContainer


@pytest.fixture(scope="session")
def pybuild_image() -> Callable[..., Built]:
    """Give a function that takes what `buildah_py.build` takes, and builds each image once in a session.

    A build that fails is an error of the test, with the end of the failed step's output.
    """
    from buildah_py import StepFailed, build

    made: dict[str, Built] = {}

    def image(context: Any = ".", **options: Any) -> Built:
        key = repr((str(context), sorted(options.items(), key=lambda one: one[0])))
        if key not in made:
            try:
                made[key] = build(context, **options)
            except StepFailed as error:
                pytest.fail(f"{error}\n\n{error.output}", pytrace=False)
        return made[key]

    return image


@pytest.fixture
def pybuild_container() -> Iterator[Callable[..., StartedContainer]]:
    """Give a function that takes what `buildah_py.start_container` takes; what it starts ends with the test."""
    from contextlib import ExitStack

    from buildah_py import start_container

    with ExitStack() as stack:

        def container(image: str, *command: Any, **options: Any) -> StartedContainer:
            return stack.enter_context(start_container(image, *command, **options))

        yield container
