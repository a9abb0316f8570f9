"""Models that are scored: pruned, trained by a method, or read from an external checkpoint."""
