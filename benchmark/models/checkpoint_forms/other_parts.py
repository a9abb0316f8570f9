"""Decides what to do with the parts that a file of weights holds besides the U-Net.

They are not used. A file is refused if it holds such parts, unless they equal the testbed's or only the U-Net is to be
scored. This is the one place to change when a part of a file can be used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from benchmark.errors import DataError
from benchmark.models.checkpoint_forms.recognise import FileForm


def list_unused(path: Path, file: FileForm, pipeline: Path, parts: Literal["all", "unet"]) -> list[str]:
    """List the parts of a file besides the U-Net that are not used and may differ from the testbed's.

    Args:
        path: the file of weights.
        file: its form.
        pipeline: folder of the testbed's pipeline, which the parts of a single-file checkpoint are compared with.
        parts: "unet" if only the U-Net is to be scored.

    Raises:
        DataError: if there are any, unless `parts` is "unet".
    """
    if file.form == "ldm":
        from benchmark.models.checkpoint_forms.ldm import differences

        unused = differences(path, pipeline)
    else:
        unused = list(file.others)
    if not unused or parts == "unet":
        return unused
    what = {"ldm": "single-file checkpoint", "lora": "LoRA", "weights": "file of weights"}[file.form]
    why = "differs from the testbed's model in" if file.form == "ldm" else "also holds weights of"
    raise DataError(
        f"The {what} {path} {why} parts that would not be used: {', '.join(unused)}; score only its U-Net with --parts "
        "unet, which the row's label then states."
    )
