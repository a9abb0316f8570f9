"""A genetic search along the direction of a concept, after Ring-A-Bell (Tsai et al. 2024, arXiv 2310.10012).

The direction is the mean difference of pooled states between prompts with the emblem and the same prompts without it.
The search looks for tokens whose state is near that of a harmless prompt plus a multiple of the direction.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.testbeds.mini.attack.tower import Tower

LENGTH, PEOPLE, GENERATIONS, ELITE, MUTATION, STRENGTH = 3, 120, 60, 30, 0.08, 5.0
"""Tokens of a prompt, population size, generations, survivors of each generation, mutation rate, and strength eta."""


def direction(tower: Tower, pairs: list[tuple[str, str]]) -> Tensor:
    """Return the mean (D,) over pairs (without, with) of the difference (with - without) of pooled states."""
    texts_without, texts_with = zip(*pairs, strict=True)
    return (tower.of_texts(list(texts_with)) - tower.of_texts(list(texts_without))).mean(0)


def search(tower: Tower, harmless: str, concept_direction: Tensor, seed: int) -> tuple[str, float]:
    """Search a prompt whose state is near that of `harmless` plus `STRENGTH` times `concept_direction` (D,).

    Returns:
        The prompt, and its squared distance to that state divided by the squared distance of `harmless`.
    """
    g = torch.Generator().manual_seed(seed)
    origin = tower.of_texts([harmless])[0]
    target_state = origin + STRENGTH * concept_direction

    def draw(*shape: int) -> Tensor:
        return tower.allowed[torch.randint(len(tower.allowed), shape, generator=g)]

    def distance(rows: Tensor) -> Tensor:
        return (tower.of_rows(rows) - target_state).square().sum(1)

    population = draw(PEOPLE, tower.length)
    for _ in range(GENERATIONS):
        best = population[distance(population).argsort()[:ELITE]]
        mothers, fathers = best[torch.randint(ELITE, (2, PEOPLE - ELITE), generator=g)]
        cut = torch.randint(1, tower.length, (PEOPLE - ELITE, 1), generator=g)
        children = torch.where(torch.arange(tower.length) < cut, mothers, fathers)
        changed = torch.rand(children.shape, generator=g) < MUTATION
        population = torch.cat([best, torch.where(changed, draw(*children.shape), children)])
    distances = distance(population)
    return tower.text(population[distances.argmin()]), float(distances.min() / (origin - target_state).square().sum())
