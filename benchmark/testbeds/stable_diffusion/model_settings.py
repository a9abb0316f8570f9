"""Checks that a testbed's settings fit its model, using only the model's configs. Imports no torch, which `bench
doctor` may lack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmark.errors import DataError, UsageError
from benchmark.testbeds.stable_diffusion.definition import Definition
from methods.sampling_steps import check_schedule


def read_config(folder: Path, name: str) -> dict[str, Any]:
    """Read a JSON file of a pipeline.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        return dict(json.loads((folder / name).read_text("utf-8-sig")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{folder / name} cannot be read ({error}): download the model again.") from error


def factor(vae: dict[str, Any]) -> int:
    """Return the downsampling factor of a VAE, i.e. pixels per latent in each direction, from its config."""
    return 2 ** (len(vae["block_out_channels"]) - 1)


def check(definition: Definition, folder: Path) -> None:
    """Check that the model in `folder` supports the definition's scheduler, steps and picture size.

    Raises:
        DataError: if it does not.
    """
    scheduler = read_config(folder, "scheduler/scheduler_config.json")
    unet, vae = (read_config(folder, f"{part}/config.json") for part in ("unet", "vae"))
    try:
        check_schedule(scheduler, definition.scheduler, definition.steps)
        coarsest = factor(vae) * 2 ** (len(unet["block_out_channels"]) - 1)
    except UsageError as error:
        raise DataError(f"Testbed {definition.name}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"A config.json in {folder} is not in diffusers' format ({error}): download the model again."
        ) from error
    if definition.size % coarsest:
        raise DataError(
            f"Testbed {definition.name}: size = {definition.size} is not possible; this model needs a multiple of "
            f"{coarsest} pixels."
        )
