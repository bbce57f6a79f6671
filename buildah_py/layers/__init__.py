"""Overlay upper directory, inventory, canonical tar and directory: from each form of a layer to the others."""

from __future__ import annotations

from typing import Final

TAR: Final = "tar"
PATCH: Final = "patch"
"""Names of the files that layers are kept in as their tar, or as what it differs in from another's."""
