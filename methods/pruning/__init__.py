"""Pruning methods. Each takes a U-Net and a share of MACs, and returns a smaller U-Net and its architecture."""
