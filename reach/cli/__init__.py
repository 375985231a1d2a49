"""The `reach` command: one file per group of commands, each a thin user of what lies below. Imports everything."""

from reach.cli.app import main

__all__ = ["main"]
