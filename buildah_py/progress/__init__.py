"""What a build tells while it runs: events, and the ways to show them."""
