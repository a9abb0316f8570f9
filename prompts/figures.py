"""The prompts of the qualitative figures of Shirkavand et al. (Tables 4 to 6 of the appendix), one per column."""

from collections.abc import Mapping, Sequence

GREAT_WAVE = "The Great Wave of Kanagawa by Hokusai"
FAUVISM = "A landscape with bold, unnatural colors fauvism style"
FIGURE_PROMPTS: Mapping[str, Sequence[str]] = {
    "figure-1": (
        "The Artist's House at Argenteuil by Claude Monet",
        "Child in a Straw Hat by Mary Cassatt",
    ),
    "figure-2": (
        "Water Lilies by Claude Monet",
        "The Three Dancers by Pablo Picasso",
        "Red Vineyards at Arles by Vincent van Gogh",
        FAUVISM,
        "Girl with a Pearl Earring by Johannes Vermeer",
        "Night In Venice by Leonid Afremov",
        GREAT_WAVE,
        "A watercolor painting of a forest",
    ),
    "figure-6": (
        "The Cliff Walk at Pourville by Claude Monet",
        "Portrait of Dora Maar by Pablo Picasso",
        "The Weaver by Vincent van Gogh",
        "Photo of a sad man by Nobuyoshi Araki",
        FAUVISM,
        GREAT_WAVE,
    ),
}
"""Figure -> its prompts, in the order of the tables. The last letters of Picasso (Table 5) and Hokusai (Table 6) are
missing there, and are added."""
FIGURE_METHODS: Mapping[str, Sequence[str]] = {
    "figure-1": ("base", "distilled", "bilevel"),
    "figure-2": ("base", "distilled", "bilevel"),
    "figure-6": ("distilled", "esd", "uce", "conceptprune", "bilevel"),
}
"""Figure -> the models that it compares. What Figure 6 calls Original is the distilled model."""
