"""Reads the options of `bench grid` that name its prompts and models."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli.options import check_plugin, names
from benchmark.errors import UsageError

if TYPE_CHECKING:
    from prompts.texts import GivenPrompt


def read_prompts(text: str) -> Sequence[GivenPrompt] | str:
    """Return the prompts of `--prompts`, or the name of a figure.

    Raises:
        UsageError: the figure is unknown, or a text is empty.
        DataError: the file cannot be read, or is wrong.
    """
    from prompts.figures import FIGURE_PROMPTS
    from prompts.texts import SUFFIXES as FILES
    from prompts.texts import read_texts, split_texts

    if text in FIGURE_PROMPTS:
        return text
    if text.startswith("figure-") and text.removeprefix("figure-").isdecimal():
        raise UsageError(f"--prompts {text} is not a figure with prompts: choose {', '.join(FIGURE_PROMPTS)}.")
    if os.path.isfile(text) or (Path(text).suffix.lower() in FILES and ";" not in text):
        return read_texts(Path(text).expanduser())
    return split_texts(text)


def method_names(methods: str, prompts: Sequence[GivenPrompt] | str) -> tuple[str, ...]:
    """Return the models of the rows; by default those of the paper's figure."""
    from prompts.figures import FIGURE_METHODS

    figure = prompts if isinstance(prompts, str) else "figure-1"
    chosen = names(methods, "--methods") or tuple(FIGURE_METHODS[figure])
    for name in chosen:
        if name != "base":
            check_plugin("methods", name)
    return chosen


def checkpoint(text: str) -> tuple[str, str]:
    """Split `[NAME=]PATH` into the label of the row and the path or Hub id."""
    from benchmark import registry
    from benchmark.models.external_checkpoint import default_name

    name, equals, place = text.partition("=")
    if not equals or os.path.exists(text):
        label = default_name(text)
        return (f"{label} (given)" if label in ("base", *registry.names("methods")) else label), text
    if not name.strip() or not place.strip() or not name.isprintable():
        raise UsageError(f"--model '{text}' must be PATH or NAME=PATH, with a name of one line.")
    return name.strip(), place
