"""pybuild as a library: what `import buildah_py` gives."""
