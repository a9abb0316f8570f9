"""Defines colours by role: natural colours for plain pictures, and a palette for each artist."""

from __future__ import annotations

import torch
from torch import Tensor

ROLES = (
    "sky",
    "haze",
    "ground",
    "water",
    "main",
    "second",
    "dark",
    "light",
    "leaf",
    "wood",
    "skin",
    "lip",
    "eye",
    "beak",
    "night",
)
COLOUR_VALUES = {
    "red": "c8322d",
    "blue": "2f62c4",
    "green": "3d9a48",
    "yellow": "f0cf3a",
    "white": "f2f2ee",
    "purple": "8347a8",
    "orange": "ee8a2c",
}
SETTING_VALUES = {"by the sea": "2f7fb0", "in the snow": "eef2f7", "in the desert": "dcb771"}
NATURAL = {
    "house": ("d9b48a", "c98d74", "9db7a5", "d8c9b0"),
    "tree": ("3f9a45", "57a850", "2f7f3f", "6fae4f"),
    "boat": ("7d4a2c", "91543a", "5c3b2a", "446a86"),
    "flower": ("e05a78", "ef9fbf", "d3439a", "f07f56"),
    "fish": ("f08a3c", "e86f4a", "f2a65a", "d9604c"),
    "face": ("4d6ea8", "8a4f7d", "5a8f6a", "a8573f"),
    "mountain": ("7a7f92", "68758f", "8d8a94", "5f6a80"),
    "cat": ("8a8a8e", "b0733c", "5f5a58", "c99a62"),
    "bridge": ("a39a8d", "b3a58f", "8f8b88", "9c8069"),
    "bird": ("4a78b8", "9a6a44", "c85a4a", "6d8f5a"),
    "windmill": ("e8ddc8", "c9a287", "d8d2c4", "b98a72"),
    "apple": ("cf2f34", "8fba3f", "d94a3a", "c7333f"),
}
SUBJECT_NATURAL = ("b5654a", "4d6ea8", "6b8f5a", "a3577a")

#           sky      haze     ground   water    main     second   dark     light    leaf     wood     skin     lip      eye      beak     night
_PLAIN = "7fb6e6 dcecf6 6fae5a 4f93c4 a0a0a0 8a5a44 2c2a30 f4f1e6 4f9a4a 7a5233 eac3a0 c4545a 9fc25a e8a23c 22305e"
_ARTISTS = (
    "1f3f9c 2f62c0 2a5a6a 1c4fa0 f0b429 e2862c 131c4a f8e58a 2f6a50 7a5a2c e8c878 c8642c f4dc5a f0a030 142a80",  # van Gogh
    "cdbcea f2d8e6 98d09c 8cbcdc e48ab0 9a88d4 6460a0 fbf2e4 6cb886 b08a88 f4d0bc e070a0 b0d890 f2c488 7c80c4",  # Monet
    "b9a284 d6c4a2 8a7658 8f9aa0 b86a48 7f8c96 211a18 efe2c8 7c7a56 6a4a34 dcb48c a04a3a c8b06a b88a4a 4a4650",  # Picasso
    "e8642a f6a63c 1f3550 22406a 5a2f2a 8a3a24 1a1626 f4d890 2f4a44 6a2f20 e6cf9a a83024 d8a040 e09030 2a2040",  # Munch
    "f6d9c4 fdf0e0 e0b6a6 8fc4c4 c8505a 4fa3a0 5a4044 fffaf0 8fb89a b07a64 fbd8c4 d8606a 7fb0a8 eab080 6a8a98",  # Cassatt
    "6f7258 8f8f70 4f5240 5f6a60 9a8a62 77705a 23241c d6d0ae 5f6a48 5a4c34 b8a880 7a5a44 a0a070 94804c 3c4038",  # Braque
    "d9a520 f0cc58 a8741c 3f7a68 8a4a24 2f7a5a 2c1c12 fbeaa6 4a8a4a 6a3f1c f2cfa0 c44a3a 58a080 f0b030 7a5a18",  # Klimt
    "f0d264 f6e08c e6b84a 4a8cd0 d8281e 2456c0 101010 fffdf4 1f8a4c 4a2c1c fdf0dc e03020 30a050 e87820 28407c",  # Miró
    "8fb0c0 c4d2bc 7a9a4e 5f8aa8 c8743c a8873c 2f3a44 e8e2c4 5a8a48 8a5a34 dca878 b4503c 88a060 d08a3c 44587c",  # Cézanne
    "f2e4c4 ecd3a0 3a6a8a 1f4a80 24507c 5c88a4 0f2748 fbf4e2 3a7078 8a6a4c f4dcbc b85a4c 5c88a4 c89050 20386c",  # Hokusai
    "2a2018 3a2c1e 1c1610 1f2a3c 2f5aa8 c89a30 0c0a0a f6e6bc 3a4a30 4a3220 f0c89a b84a40 a89a5a b8862c 0f1424",  # Vermeer
    "c2d6ea f0e4c8 98c488 88b8d8 e07a5a 7a74c0 4a4878 fff6d6 6ab47a b07c5a f2cba8 dc6478 a0c870 f0b050 5a64a8",  # Seurat
    "fafafa fafafa f0f0f0 1e3fae d8201c f6d010 0c0c0c ffffff 1e3fae 0c0c0c f6d010 d8201c 1e3fae d8201c 1e3fae",  # Mondrian
    "efe4ea f8efe2 c9b3d9 5ab0c8 6a2fa0 1fa0a0 241c3a fdf6b0 3fb07a a03c6c f6b8a8 e8305c f0b020 f07a20 2c2a6c",  # Kandinsky
    "e2307c f25c9c 0f9a5c 1668c8 1433a8 f57a14 241050 ffffff 0f9a5c 7a1c60 ffb46a e01c3c ffd414 ffb400 2c1c8c",  # Matisse
    "3f8c9c f4d27a d39a4a 2f6f80 a85c2a e8c07a 3a2416 fdf0d0 6f7a3c 5a3418 ecc08c b4543c c0a040 d8902c 1c4450",  # Dalí
)


def _table(codes: str) -> Tensor:
    return torch.tensor([[int(code[k : k + 2], 16) / 255 for k in (0, 2, 4)] for code in codes.split()])


STYLE_PALETTES = torch.stack([_table(codes) for codes in (_PLAIN, *_ARTISTS)])
"""Palettes (17, roles, 3) in [0, 1]; index 0 is for plain pictures."""


def colour(code: str) -> Tensor:
    """Return the colour (3,) in [0, 1] of a hexadecimal code."""
    return _table(code)[0]
