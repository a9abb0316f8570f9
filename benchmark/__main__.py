"""Runs the command line `bench` for `python -m benchmark`."""

from benchmark.cli import main

main()
