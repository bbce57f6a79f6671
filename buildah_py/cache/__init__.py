"""Step keys, and the records of what they led to."""

from buildah_py.cache.keys import base_chain, next_chain, step_key
from buildah_py.cache.records import Cache, Record

__all__ = ["Cache", "Record", "base_chain", "next_chain", "step_key"]
