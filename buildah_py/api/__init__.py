"""pybuild as a library: `build()` and friends. The command line is one caller of it."""
