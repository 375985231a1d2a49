"""`python -m reach`."""

from reach.cli import main

main()
