"""The build-file language: syntax tree, expansion of variables, checks. Knows no file but the text it is given."""

from __future__ import annotations

from buildah_py.buildfile.parser import parse, parse_trigger

__all__ = ["parse", "parse_trigger"]
