"""Training loop, batches and losses that all methods share."""
