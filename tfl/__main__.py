"""`python -m tfl` is `tfl`."""

import sys

from tfl.cli import main

if __name__ == "__main__":
    sys.exit(main())
