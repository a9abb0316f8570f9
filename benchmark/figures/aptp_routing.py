"""Which captions share an expert: shown by their lengths and by the words that set them apart."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence

TYPICAL = 4
"""Words shown of each expert's captions."""
FEW = 5
"""A word in fewer captions than this says nothing."""
SHUFFLES = 1000


def words_of(caption: str) -> list[str]:
    """`"A boat, by night"` -> `["a", "boat", "by", "night"]`."""
    return re.findall(r"[\w'-]+", caption.lower())


def explained(lengths: Sequence[float], experts: Sequence[int]) -> float:
    """Share (0 to 1) of the variance of captions' lengths that lies between experts: eta squared."""
    mean = sum(lengths) / len(lengths)
    whole = sum((length - mean) ** 2 for length in lengths)
    groups: dict[int, list[float]] = {}
    for length, expert in zip(lengths, experts, strict=True):
        groups.setdefault(expert, []).append(length)
    between = sum(len(group) * (sum(group) / len(group) - mean) ** 2 for group in groups.values())
    return between / whole if whole else 0.0


def by_chance(lengths: Sequence[float], experts: Sequence[int]) -> float:
    """What `explained` stays below in 95 of 100 when captions are dealt to the experts at random."""
    rng, dealt = random.Random(0), list(experts)
    found = []
    for _ in range(SHUFFLES):
        rng.shuffle(dealt)
        found.append(explained(lengths, dealt))
    return sorted(found)[int(0.95 * SHUFFLES)]


def typical(captions: Sequence[str], mine: Sequence[str]) -> list[tuple[str, float]]:
    """Words that set `mine`, some of the captions, apart: with how many times their usual share they have there."""
    everywhere, here = (Counter(word for text in texts for word in set(words_of(text))) for texts in (captions, mine))
    lifts = {word: here[word] / len(mine) / (everywhere[word] / len(captions)) for word in here if here[word] >= FEW}
    return sorted(lifts.items(), key=lambda item: (-item[1], item[0]))[:TYPICAL]


def routing(captions: Sequence[str], experts: Sequence[int], shares: Sequence[float]) -> list[str]:
    """Lines of a Markdown table, an expert each, and what they say together. `experts` has one for each caption."""
    lengths = [len(words_of(caption)) for caption in captions]
    lines = ["| expert | MACs | captions | words a caption | least…most | typical words |"]
    lines.append("| ---: | ---: | ---: | ---: | ---: | --- |")
    for number, share in enumerate(shares):
        own = [k for k, expert in enumerate(experts) if expert == number]
        if not own:
            lines.append(f"| {number} | {share:.1%} | 0 |  |  |  |")
            continue
        counts = [lengths[k] for k in own]
        told = ", ".join(f"{word} ×{lift:.1f}" for word, lift in typical(captions, [captions[k] for k in own]))
        mean = sum(counts) / len(counts)
        lines.append(f"| {number} | {share:.1%} | {len(own)} | {mean:.1f} | {min(counts)}…{max(counts)} | {told} |")
    found, chance = explained(lengths, experts), by_chance(lengths, experts)
    told = f"Experts explain {found:.0%} of the variance of captions' lengths"
    return [*lines, "", f"{told}; dealt at random they stay below {chance:.1%} in 95 of 100."]
