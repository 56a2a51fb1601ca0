"""The command line: parse, call, print."""

from jobs.cli.main import main

__all__ = ["main"]
