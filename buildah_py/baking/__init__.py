"""Building the targets of bake files together, after bake/ has read them."""
