"""`bilevel`: restore (lower level) and forget (upper level) in one run."""
