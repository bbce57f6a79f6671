"""Scheduling the graph of steps: look up, execute, deduplicate, cancel."""

from buildah_py.engine.engine import Engine
from buildah_py.engine.results import Result
from buildah_py.engine.workshop import Workshop

__all__ = ["Engine", "Result", "Workshop"]
