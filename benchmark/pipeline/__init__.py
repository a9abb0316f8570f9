"""A whole run: prune, train, sample, score, record."""
