"""A build as a function: `build.build()`. The command line is one caller of it."""
