"""Networks that say what a picture shows and where: raw boxes out, and what counts is decided by who reads them.

The package imports nothing by itself, since each detector brings its own engine: import the module that is needed.
"""
