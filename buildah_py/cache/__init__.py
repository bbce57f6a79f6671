"""Step keys, and the records of what they led to."""

from buildah_py.cache.keys import base_chain, next_ancestry, next_chain, step_key
from buildah_py.cache.records import Cache, Made, Record
from buildah_py.cache.selections import Selections

__all__ = ["Cache", "Made", "Record", "Selections", "base_chain", "next_ancestry", "next_chain", "step_key"]
