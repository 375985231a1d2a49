"""`reach compare-solvers` as a script: takes the same arguments."""

import sys

from reach.cli import main

if __name__ == "__main__":
    main(["compare-solvers", *sys.argv[1:]])
