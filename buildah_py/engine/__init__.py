"""Executing the graph of steps: a scheduler, a runner of steps, and an operation for each kind of step."""

from buildah_py.engine.engine import Engine
from buildah_py.engine.results import Result
from buildah_py.engine.worker import Worker

__all__ = ["Engine", "Result", "Worker"]
