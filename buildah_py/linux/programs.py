"""Programs of this machine, by their names."""

from __future__ import annotations

import os


def find_tool(name: str, path: str) -> str:
    """Give the program of that name in the directories of `path`, "" where none is."""
    places = (f"{directory}/{name}" for directory in path.split(":"))
    return next((place for place in places if os.access(place, os.X_OK)), "")
