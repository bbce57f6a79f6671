"""Names of the rungs of isolation; see docs/sandbox.md."""

from __future__ import annotations

FULL, NESTED, IN_PLACE = "full", "nested", "in-place"
WITHOUT_CONTAINER = (IN_PLACE,)
"""Those that take neither a namespace nor a mount, so that the program need not enter a user namespace for them."""
