"""The command `bench`."""

from benchmark.cli.app import app, main

__all__ = ["app", "main"]
