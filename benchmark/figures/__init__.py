"""Figures drawn from records, each with its numbers as CSV."""
