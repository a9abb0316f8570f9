"""The prompts of mini that are nearest to those of the paper's qualitative figures (prompts/figures.py).

mini draws twelve kinds of objects in the styles of sixteen artists. It has no Leonid Afremov, for whom Georges Seurat
stands in, and no Nobuyoshi Araki, whose photograph becomes a plain picture. Henri Matisse was a fauvist.
"""

from collections.abc import Mapping, Sequence

GREAT_WAVE = "a boat by Katsushika Hokusai"
FAUVISM = "a mountain by Henri Matisse"
FIGURE_PROMPTS: Mapping[str, Sequence[str]] = {
    "figure-1": ("a house by Claude Monet", "a face by Mary Cassatt"),
    "figure-2": (
        "a flower by Claude Monet",
        "a face by Pablo Picasso",
        "a red tree by Vincent van Gogh",
        FAUVISM,
        "a pearl earring by Johannes Vermeer",
        "a bridge by Georges Seurat",
        GREAT_WAVE,
        "a painting of a tree",
    ),
    "figure-6": (
        "a mountain by Claude Monet",
        "a face by Pablo Picasso",
        "a face by Vincent van Gogh",
        "a photo of a face",
        FAUVISM,
        GREAT_WAVE,
    ),
}
