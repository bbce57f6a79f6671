"""The version of pybuild."""

from __future__ import annotations

__version__ = "0.1.0"
