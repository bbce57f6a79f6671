"""Commands beside the build: what images, registries and records are asked for, each one a module."""
