"""The training loop of all methods, its batches and its losses."""
