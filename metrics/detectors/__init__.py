"""Detectors: networks that return boxes with labels and scores. The caller decides which of them count.

The package itself imports nothing, because each detector needs its own engine. Import the module you need.
"""
