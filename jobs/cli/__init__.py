"""The command line: parse, call, print."""

from microtome.jobs.cli.main import main

__all__ = ["main"]
