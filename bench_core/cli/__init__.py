"""The command line `bench`: one module for each group of commands, and the options that they share."""

from bench_core.cli.group import main as main

__all__ = ["main"]
