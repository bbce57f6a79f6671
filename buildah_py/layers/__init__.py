"""Overlay upper directory, inventory, canonical tar and directory: from each form of a layer to the others."""
