"""Decides what to do with the parts of a file of weights that are neither its U-Net nor usable (see `part_sources`).

A file that holds such parts is refused, unless some parts are chosen. This is the one place to change when a further
part of a file can be used.
"""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import DataError
from benchmark.models.checkpoint_forms.recognise import TEXT_ENCODER, FileForm

USED = {"ldm": (TEXT_ENCODER, "vae"), "lora": (TEXT_ENCODER,), "weights": ()}
"""Parts besides the U-Net that can be used, by the form of the file."""


def list_unused(path: Path, file: FileForm, is_whole: bool) -> list[str]:
    """List the parts of a file that cannot be used.

    Args:
        path: the file of weights.
        file: its form.
        is_whole: whether all parts of the file are to be scored.

    Raises:
        DataError: if there are any, and `is_whole`.
    """
    unused = [f"{part} ({count} tensors)" for part, count in file.others.items() if part not in USED[file.form]]
    if not unused or not is_whole:
        return unused
    what = {"ldm": "single-file checkpoint", "lora": "LoRA", "weights": "file of weights"}[file.form]
    raise DataError(
        f"The {what} {path} also holds weights of parts that would not be used: {', '.join(unused)}; score only its "
        "U-Net with --parts unet, which the row's label then states."
    )
