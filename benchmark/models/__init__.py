"""Models that are scored: pruned, trained by a method, or read from a checkpoint made elsewhere."""
