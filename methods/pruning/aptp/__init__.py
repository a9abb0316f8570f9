"""APTP: a mixture of pruned experts and a router that sends each prompt to one (Ganjdanesh et al. 2024, 2406.12042).

`sentences` (frozen prompt encoder) -> `router` (architecture predictor, codes, assignment) -> `relaxed` (gates that
gradients pass) -> `losses` -> `search` (the training; the U-Net is frozen) -> `experts` (what comes out) -> `prune`.
`resuming` keeps a search that is stopped.
"""
