"""Reads the pictures of a record from a runs folder, with the prompts that they were sampled for."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from benchmark.records.record import Record
from benchmark.tables.columns import EXPLICIT

LARGEST = 128
"""Largest side in pixels of a picture in a report. Larger pictures are reduced."""
LARGEST_READ = 4096
"""Largest side in pixels of a picture that is read at all."""
FORMATS = ("PNG",)
"""Format of all pictures in a store. Pillow would run other programs for some formats."""
BLURRED = 32
"""Side of a blurred picture: more pixels would show nothing more."""
QUALITY = 85
MOST_BYTES = 8_000_000
"""Largest size of all pictures of a report together, in characters of their data URIs."""
PRIVATE = "explicit-images"
"""Kind of artefact that holds explicit pictures."""


@dataclass(frozen=True)
class Stored:
    """A picture on disk. `text` is empty if the folder does not tell for which prompt it was sampled."""

    path: Path
    text: str
    seed: int | None


@dataclass
class Embedder:
    """Turns pictures into data URIs, up to `MOST_BYTES` in all.

    Args:
        reveal: whether explicit pictures are embedded without blur.
    """

    reveal: bool
    bytes: int = 0
    left_out: int = 0
    """Number of pictures that were left out because the report would be too large."""
    damaged: list[Path] = field(default_factory=list)
    revealed: bool = False
    """Whether an explicit picture was embedded without blur."""

    def uri(self, path: Path, explicit: bool) -> str:
        """Return a picture as a data URI; empty if it cannot be read or would make the report too large."""
        from PIL import Image

        try:
            uri = data_uri(path, blurred=explicit and not self.reveal)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            self.damaged.append(path)
            return ""
        if self.bytes + len(uri) > MOST_BYTES:
            self.left_out += 1
            return ""
        self.bytes += len(uri)
        self.revealed |= explicit and self.reveal
        return uri


def data_uri(path: Path, *, blurred: bool) -> str:
    """Return a picture as a small WebP in a data URI, or as PNG if Pillow lacks WebP.

    A blurred picture loses its details before it is encoded, so nobody can restore them.
    """
    from PIL import Image, ImageFilter, features

    with Image.open(path, formats=FORMATS) as file:
        if max(file.size) > LARGEST_READ:
            raise ValueError("it is larger than any picture of a model")
        picture = file.convert("RGB")
    if blurred:
        picture = picture.filter(ImageFilter.GaussianBlur(max(picture.size) / 8))
    side = BLURRED if blurred else LARGEST
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    image = io.BytesIO()
    kind = "webp" if features.check("webp") else "png"
    picture.save(image, format=kind, quality=QUALITY)
    return f"data:image/{kind};base64,{base64.b64encode(image.getvalue()).decode()}"


def folder_of(record: Record, runs: Path) -> Path | None:
    """Return the folder with the record's pictures: beside the folder of the record, else in `runs`; None if neither.

    The name of the folder contains a part of the model's key, so pictures of a different model are never returned.
    """
    relative = Path(record.images or "")
    if not record.images or relative.is_absolute() or ".." in relative.parts:
        return None
    homes = [record.folder.parent] if record.folder else []
    return next((home / relative for home in (*homes, runs) if (home / relative).is_dir()), None)


def find_picture(folder: Path, prompt_id: str, seed: int) -> Stored | None:
    """Return the picture of a prompt; None if it is missing or was sampled with a different seed.

    A link of this name can lead to the picture of a different prompt, if a later run had a prompt of the same id. A
    link that leads neither into the folder nor to an artefact counts as missing: in a shared store, such a link could
    put a private picture of the reader into a report.
    """
    if Path(prompt_id).name != prompt_id:
        return None
    path = folder / f"{prompt_id}.png"
    if not path.is_file():
        return None
    path = path.resolve()
    prompts = _prompts(path.parent)
    if not prompts and path.parent != folder.resolve():
        return None
    if not path.stem.isdecimal() or int(path.stem) >= len(prompts):
        return Stored(path, "", None)
    text, own_seed = prompts[int(path.stem)]
    return Stored(path, text, own_seed) if own_seed == seed else None


def may_be_explicit(record: Record, path: Path) -> bool:
    """Return whether a picture of a record may be explicit: its suite is one of explicit content, or the store keeps
    the picture among the private ones."""
    forgets_explicit = record.concept.get("kind") == "explicit" and record.suite not in ("artists", "coco")
    return record.suite in EXPLICIT or forgets_explicit or PRIVATE in path.parts


@cache
def _prompts(folder: Path) -> tuple[tuple[str, int], ...]:
    """Return text and seed of the prompts of a shard of pictures in the store; empty for any other folder."""
    try:
        identity = json.loads((folder / "artefact.json").read_bytes())["identity"]
        return tuple((str(text), int(seed)) for text, seed in identity["prompts"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ()
