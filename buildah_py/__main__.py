"""`python -m buildah_py` is `pybuild`."""

import sys

from buildah_py.cli import main

if __name__ == "__main__":
    sys.exit(main())
