"""Sharing the cache between machines: its form outside of a store, and the places that can keep it."""
