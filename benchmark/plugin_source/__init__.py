"""Plug-ins as source text: what a file of the user imports, and what a class that is not imported says."""
