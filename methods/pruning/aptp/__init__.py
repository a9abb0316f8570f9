"""APTP: a mixture of pruned experts, and a router that assigns an expert to each prompt.

Source: Ganjdanesh et al. 2024 (arXiv 2406.12042).

`sentences` (frozen prompt encoder) -> `router` (architecture predictor, codes, assignment) -> `relaxed` (differentiable
gates) -> `losses` -> `search` (the training; the U-Net is frozen) -> `experts` (the result) -> `prune`. `resuming`
holds the checkpoints of a search.
"""
