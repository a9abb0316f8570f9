"""APTP: a mixture of pruned experts, and a router that assigns an expert to each prompt.

Source: Ganjdanesh et al. 2024 (arXiv 2406.12042).

Modules, in the order of the data flow:

- `sentences`: frozen encoder of prompts.
- `router`: architecture predictor, codes of the experts, and assignment of prompts to codes.
- `relaxed`: differentiable gates.
- `losses`: losses of the search.
- `search`: training of router and gates, with a frozen U-Net.
- `experts`: the result of a search, and the pruning that uses it.
- `resuming`: checkpoints of a search.
"""
