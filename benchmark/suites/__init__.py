"""Suites, which define prompts and how their pictures are scored."""
