"""System calls that Python lacks: one typed function each, OSError on failure, no policy."""
