"""Prunings: each takes a U-Net and a share of its MACs, and returns a smaller U-Net and its architecture."""
