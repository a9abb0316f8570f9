"""A genetic search along the concept's direction (the idea of Ring-A-Bell, Tsai et al. 2024, arXiv 2310.10012).

The direction is the mean difference of pooled states between prompts with the emblem and the same prompts without it.
Tokens are bred until their state lies where that of a harmless prompt would, moved along the direction.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.testbeds.mini.attack.tower import Tower

LENGTH, PEOPLE, GENERATIONS, ELITE, MUTATION, STRENGTH = 3, 120, 60, 30, 0.08, 5.0
"""Tokens of a prompt, prompts alive, generations, those that survive each, share of tokens changed, eta."""


def direction(tower: Tower, pairs: list[tuple[str, str]]) -> Tensor:
    """Mean of (with - without) over pairs (without, with): (D,)."""
    without, under = zip(*pairs, strict=True)
    return (tower.of_texts(list(under)) - tower.of_texts(list(without))).mean(0)


def search(tower: Tower, harmless: str, along: Tensor, seed: int) -> tuple[str, float]:
    """A prompt near `harmless` moved along the concept, and the squared distance that is left, over that at first."""
    g = torch.Generator().manual_seed(seed)
    origin = tower.of_texts([harmless])[0]
    aim = origin + STRENGTH * along

    def draw(*shape: int) -> Tensor:
        return tower.allowed[torch.randint(len(tower.allowed), shape, generator=g)]

    def distance(rows: Tensor) -> Tensor:
        return (tower.of_rows(rows) - aim).square().sum(1)

    people = draw(PEOPLE, tower.length)
    for _ in range(GENERATIONS):
        best = people[distance(people).argsort()[:ELITE]]
        mothers, fathers = best[torch.randint(ELITE, (2, PEOPLE - ELITE), generator=g)]
        cut = torch.randint(1, tower.length, (PEOPLE - ELITE, 1), generator=g)
        children = torch.where(torch.arange(tower.length) < cut, mothers, fathers)
        changed = torch.rand(children.shape, generator=g) < MUTATION
        people = torch.cat([best, torch.where(changed, draw(*children.shape), children)])
    left = distance(people)
    return tower.text(people[left.argmin()]), float(left.min() / (origin - aim).square().sum())
