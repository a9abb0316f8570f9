"""Stored results: JSON records, per-image scores, loss curves and provenance."""
