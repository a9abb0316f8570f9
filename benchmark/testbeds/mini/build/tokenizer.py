"""Builds mini's tokenizer: CLIP's byte-level BPE, with merges learnt from the training captions."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from transformers import CLIPTokenizer

CONTEXT = 32
"""Tokens per text: start token, up to 30 tokens of the caption, end token, and padding."""
START, END = "<|startoftext|>", "<|endoftext|>"
_WORD = re.compile(r"[^\W\d_]+|\d|[^\s\w]+", re.UNICODE)


def bytes_to_symbols() -> dict[int, str]:
    """Return CLIP's printable character for every byte (GPT-2's table)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {b: chr(b) for b in printable}
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + len(table) - len(printable))
    return table


def learn_merges(captions: Iterable[str]) -> list[tuple[str, str]]:
    """Learn merges from captions: the most frequent pair is merged until every word of the captions is one token."""
    symbols = bytes_to_symbols()
    counts = Counter(word for caption in captions for word in _WORD.findall(caption.lower()))
    spelt = {word: [symbols[b] for b in word.encode()] for word in counts}
    for parts in spelt.values():
        parts[-1] += "</w>"
    merges: list[tuple[str, str]] = []
    while True:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in spelt.items():
            for pair in itertools.pairwise(parts):
                pairs[pair] += counts[word]
        if not pairs:
            return merges
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        for parts in spelt.values():
            i = 0
            while i < len(parts) - 1:
                if (parts[i], parts[i + 1]) == best:
                    parts[i : i + 2] = [best[0] + best[1]]
                i += 1


def build(captions: Iterable[str], folder: Path) -> CLIPTokenizer:
    """Learn, save and return the tokenizer. Padding is "!" (id 0), as in SD 2.1; the end token has the highest id."""
    merges = learn_merges(captions)
    symbols = list(bytes_to_symbols().values())
    tokens = [
        *sorted(symbols),
        *(s + "</w>" for s in sorted(symbols)),
        *dict.fromkeys(a + b for a, b in merges),
        START,
        END,
    ]
    vocabulary = {token: k for k, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,  # type: ignore[arg-type]  # pairs, as the library tokenizers expects
        bos_token=START,
        eos_token=END,
        unk_token=END,
        pad_token="!",
        model_max_length=CONTEXT,
    )
    tokenizer.save_pretrained(folder)
    return tokenizer
