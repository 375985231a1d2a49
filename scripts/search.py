"""Runs `reach search` as a script: takes the same arguments."""

import sys

from reach.cli import main

if __name__ == "__main__":
    main(["search", *sys.argv[1:]])
