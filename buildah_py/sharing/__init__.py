"""Sharing the cache between machines: its form outside of a store, and the places that can keep it."""

from typing import Final

INLINE_PROPERTY: Final = "pybuild.cache.v1"
"""The property of an image's config that carries the records of its layers."""
