"""Runs a whole evaluation: prune, train, sample, score, record."""
