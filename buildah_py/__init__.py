"""pybuild: a declarative, Dockerfile-compatible image builder."""

__version__ = "0.1.0"
