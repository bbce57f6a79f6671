"""Stand-ins for Docker's builders: the plug-in of its command line, its contexts, and builders by name."""
