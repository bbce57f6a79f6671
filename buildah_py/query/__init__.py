"""Questions about images of the store: what they hold, take, and how they differ."""
