"""Durable files: content-addressed artefacts, training checkpoints and checksums."""
