"""Suites: their prompts and the scores of the pictures."""
