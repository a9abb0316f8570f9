"""The parts of a checkpoint that `--parts` chooses, and their names in labels."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.errors import UsageError

PARTS = {
    "unet": "U-Net",
    "text_encoder": "text encoder",
    "tokenizer": "tokenizer",
    "vae": "VAE",
    "scheduler": "noise schedule",
}
"""Parts of a pipeline that can differ from the testbed's, as in its folder -> as in labels."""
ALL = tuple(PARTS)


def parse_parts(text: str) -> tuple[str, ...]:
    """Return the parts that a text such as "unet,text_encoder" or "all" chooses, in the order of `PARTS`.

    Raises:
        UsageError: if it names no part, or an unknown one.
    """
    names = [name.strip() for name in text.split(",")]
    if names == ["all"]:
        return ALL
    if text.strip() and not all(names):
        raise UsageError(f"--parts '{text}' contains an empty name: write \"unet,vae\".")
    if unknown := [name for name in names if name and name not in PARTS]:
        raise UsageError(f"--parts has no '{unknown[0]}': give all, or some of {', '.join(PARTS)}, with commas.")
    if not any(names):
        raise UsageError(f"--parts is empty: give all, or some of {', '.join(PARTS)}, with commas.")
    return tuple(part for part in PARTS if part in names)


def in_words(parts: Sequence[str]) -> str:
    """Return parts as words, such as "text encoder and VAE"."""
    *first, last = [PARTS[part] for part in parts]
    return f"{', '.join(first)} and {last}" if first else last
