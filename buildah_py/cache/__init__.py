"""Step keys, and the records of what they led to."""

from buildah_py.cache.keys import base_chain, next_chain, step_key
from buildah_py.cache.records import Cache, Record
from buildah_py.cache.selections import Selections

__all__ = ["Cache", "Record", "Selections", "base_chain", "next_chain", "step_key"]
