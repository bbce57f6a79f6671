"""Progress of a build while it runs: events, and the ways to show them."""
