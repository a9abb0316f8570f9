"""Costs of runs: estimates of FLOPs, hours, memory and disk, and measurements of speed."""
