"""Containers that a person starts: of an image, of a step, of a build that failed."""
