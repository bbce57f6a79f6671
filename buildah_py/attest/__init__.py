"""Attestations of an image: how it was built, and what is in it."""
