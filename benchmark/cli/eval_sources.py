"""The options of `bench eval` that name what is scored: a checkpoint, a function, or a folder of pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.options import refuse_given
from benchmark.errors import UsageError

if TYPE_CHECKING:
    from benchmark.api.request import Outcome, RunRequest
    from benchmark.console import Progress


Checkpoint = Annotated[
    str,
    typer.Option(
        help="U-Net, LoRA or pipeline to score: a folder, a file of weights, or a Hugging Face Hub id, also of a "
        "commit, tag or branch: org/model@revision.",
        show_default="none",
    ),
]
Generate = Annotated[
    str,
    typer.Option(
        help="Instead of a checkpoint: a function that generates pictures, path/to/file.py:function. It is called as "
        "function(prompts, seeds, size) for at most 32 prompts at a time, and returns one uint8 picture of size x size "
        "pixels per prompt: arrays (H, W, 3), a tensor (N, 3, H, W), or PIL images. Its code, its name and --name "
        "identify its pictures, which are stored and reused: after changing weights that it reads, give a different "
        "--name.",
        show_default="none",
    ),
]
Images = Annotated[
    Path | None,
    typer.Option(
        help="Instead of a checkpoint: a folder of pictures that exist already, with a prompts.csv that names the "
        "prompt (id) and the PNG, JPEG or WebP file of each. `bench prompts write` writes this list. Every prompt of "
        "the run needs a picture of the testbed's size; --limit and --alone reduce the prompts.",
        show_default="none",
    ),
]
CHECKPOINTS_ONLY = {
    "architecture": "--architecture",
    "parts": "--parts",
    "lora_scale": "--lora-scale",
    "embedding": "--embedding",
    "weights": "--weights",
    "precision": "--precision",
    "compiles": "--compile",
}
"""Options that concern the U-Net of a checkpoint."""


def check_sources(given: Collection[str], checkpoint: str, generate: str, images: Path | None) -> str:
    """Check that one thing to score is given, and no option that has no effect on it. Returns the default name.

    `given` has the names of the options that the user gave.

    Raises:
        UsageError: none or several are given, an option has no effect, or the function is not named as file and name.
    """
    sources = [
        option
        for option, value in (("--checkpoint", checkpoint), ("--generate", generate), ("--images", images))
        if value
    ]
    if not sources:
        raise UsageError("There is nothing to score: name a model with --checkpoint, --generate or --images.")
    if len(sources) > 1:
        raise UsageError(f"{' and '.join(sources)} are given, but one row has one model: give only one of them.")
    if checkpoint:
        from benchmark.models.external_checkpoint import default_name

        return default_name(checkpoint)
    refuse_given(given, CHECKPOINTS_ONLY, f"it is for checkpoints, and {sources[0]} scores pictures")
    refuse_given(given, {"as_published": "--as-published"}, f"{sources[0]} has its own guidance and one size")
    if images is not None:
        return Path(os.path.abspath(images.expanduser())).name
    from benchmark.registry import fingerprint, is_file

    if not is_file(generate):
        raise UsageError(f"--generate {generate!r} is not a function in a file: write path/to/file.py:function.")
    fingerprint(generate)  # refuses a file that does not exist
    return generate.rpartition(":")[2]


def scorer(generate: str, images: Path | None, name: str) -> Callable[[RunRequest, Progress], Outcome]:
    """Return the function that scores the pictures of `--generate` or `--images` for a request."""
    from benchmark.pipeline.own_pictures import evaluate_folder, evaluate_function

    def score(request: RunRequest, progress: Progress) -> Outcome:
        if images is not None:
            return evaluate_folder(request, images.expanduser(), name, progress)
        return evaluate_function(request, generate, name, progress)

    return score
