"""Detectors: networks that return boxes with labels and scores. The caller decides which detections count.

This package imports none of its modules, because each detector needs a different library. Import the module you need.
"""
