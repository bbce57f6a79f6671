"""Where the result of a build goes: OCI layouts, archives for Docker, tars and directories."""
