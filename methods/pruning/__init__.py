"""Prunings: a U-Net and a share of its MACs -> a smaller U-Net and its architecture."""
