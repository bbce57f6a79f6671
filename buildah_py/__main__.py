"""`python -m buildah_py` is `pybuild`."""

import sys

from buildah_py.cli import program

if __name__ == "__main__":
    sys.exit(program())
