"""Reads the source text of plug-ins: the files that they import, and attributes of their classes."""
