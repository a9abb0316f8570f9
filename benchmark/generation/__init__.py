"""Samples pictures from models and computes their features, one shard at a time."""
