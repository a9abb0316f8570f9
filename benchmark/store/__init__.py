"""Durable files: artefacts by the hash of what made them, checkpoints, checksums."""
