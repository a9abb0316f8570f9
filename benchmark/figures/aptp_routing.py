"""Describes the captions that APTP's router sends to each expert: their lengths and their typical words."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence

TYPICAL = 4
"""Number of typical words shown for each expert."""
FEW = 5
"""Words that occur in fewer captions of an expert than this are ignored."""
SHUFFLES = 1000
"""Number of random assignments of captions to experts in `by_chance`."""


def words_of(caption: str) -> list[str]:
    """Return the words of a caption in lower case: "A boat, by night" -> ["a", "boat", "by", "night"]."""
    return re.findall(r"[\w'-]+", caption.lower())


def explained(lengths: Sequence[float], experts: Sequence[int]) -> float:
    """Return eta squared: the share (0 to 1) of the variance of caption lengths that lies between experts."""
    mean = sum(lengths) / len(lengths)
    whole = sum((length - mean) ** 2 for length in lengths)
    groups: dict[int, list[float]] = {}
    for length, expert in zip(lengths, experts, strict=True):
        groups.setdefault(expert, []).append(length)
    between = sum(len(group) * (sum(group) / len(group) - mean) ** 2 for group in groups.values())
    return between / whole if whole else 0.0


def by_chance(lengths: Sequence[float], experts: Sequence[int]) -> float:
    """Return the 95th percentile of `explained` if captions are assigned to the experts at random."""
    rng, shuffled = random.Random(0), list(experts)
    shares = []
    for _ in range(SHUFFLES):
        rng.shuffle(shuffled)
        shares.append(explained(lengths, shuffled))
    return sorted(shares)[int(0.95 * SHUFFLES)]


def typical(captions: Sequence[str], chosen: Sequence[str]) -> list[tuple[str, float]]:
    """Return the `TYPICAL` words with the highest lift in `chosen`, a subset of `captions`, with their lifts.

    The lift of a word is the share of captions in `chosen` that contain it, divided by this share in all captions.
    """
    overall, inside = (Counter(word for text in texts for word in set(words_of(text))) for texts in (captions, chosen))
    lifts = {
        word: inside[word] / len(chosen) / (overall[word] / len(captions)) for word in inside if inside[word] >= FEW
    }
    return sorted(lifts.items(), key=lambda pair: (-pair[1], pair[0]))[:TYPICAL]


def routing(captions: Sequence[str], experts: Sequence[int], shares: Sequence[float]) -> list[str]:
    """Return the lines of a Markdown table with one row per expert, and a sentence about caption lengths.

    Args:
        captions: the captions.
        experts: the number of the expert of each caption.
        shares: the share of MACs of each expert.
    """
    lengths = [len(words_of(caption)) for caption in captions]
    lines = ["| expert | MACs | captions | words per caption | least…most | typical words |"]
    lines.append("| ---: | ---: | ---: | ---: | ---: | --- |")
    for number, share in enumerate(shares):
        indices = [k for k, expert in enumerate(experts) if expert == number]
        if not indices:
            lines.append(f"| {number} | {share:.1%} | 0 |  |  |  |")
            continue
        counts = [lengths[k] for k in indices]
        words = ", ".join(f"{word} ×{lift:.1f}" for word, lift in typical(captions, [captions[k] for k in indices]))
        mean = sum(counts) / len(counts)
        lines.append(
            f"| {number} | {share:.1%} | {len(indices)} | {mean:.1f} | {min(counts)}…{max(counts)} | {words} |"
        )
    eta_squared, chance = explained(lengths, experts), by_chance(lengths, experts)
    summary = f"Experts explain {eta_squared:.0%} of the variance of caption lengths"
    return [*lines, "", f"{summary}; with random assignment, it is below {chance:.1%} in 95 of 100 cases."]
