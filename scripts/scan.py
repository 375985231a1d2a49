"""`reach scan` as a script: takes the same arguments."""

import sys

from reach.cli import main

if __name__ == "__main__":
    main(["scan", *sys.argv[1:]])
