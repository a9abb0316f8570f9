"""Campaigns as jobs: one script per run, for Slurm or for processes of this machine."""
