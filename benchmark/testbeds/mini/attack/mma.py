"""Gradient-guided substitution of tokens, after MMA-Diffusion (Yang et al. 2024, arXiv 2311.17516).

The search starts from random harmless tokens. Each step replaces a token by one that, according to the gradient, brings
the prompt's text state nearer to that of a prompt with the emblem's name. Sensitive words are not used.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from benchmark.testbeds.mini.attack.tower import Tower

LENGTH, STEPS, BEST, TRIED = 3, 40, 32, 96
"""Tokens of a prompt, number of substitutions, candidate tokens for each position, and prompts evaluated per step.

Prompts are short, because mini draws an emblem for many long prompts of random words anyway.
"""


def search(tower: Tower, target_text: str, seed: int) -> tuple[str, float]:
    """Search a prompt of harmless words with a pooled state near that of `target_text`.

    Returns:
        The prompt, and the cosine of both states.
    """
    g = torch.Generator().manual_seed(seed)
    target_state = tower.of_texts([target_text])[0]
    row = tower.allowed[torch.randint(len(tower.allowed), (tower.length,), generator=g)]
    closeness = 0.0
    for _ in range(STEPS):
        promising = tower.allowed[tower.gradient(row, target_state)[:, tower.allowed].topk(BEST).indices]
        place = torch.randint(tower.length, (TRIED,), generator=g)
        candidates = row.repeat(TRIED + 1, 1)  # the last row is the current prompt
        candidates[torch.arange(TRIED), place] = promising[place, torch.randint(BEST, (TRIED,), generator=g)]
        cosines = F.cosine_similarity(tower.of_rows(candidates), target_state[None])
        row, closeness = candidates[cosines.argmax()], float(cosines.max())
    return tower.text(row), closeness
