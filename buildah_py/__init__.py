"""pybuild: a declarative, Dockerfile-compatible image builder."""
