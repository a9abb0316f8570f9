"""Plots of records. Each plot is written together with a CSV file of its numbers."""
