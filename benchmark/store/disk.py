"""How much disk the parts of a run take, and whether it is there before they begin."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from rich import filesize

from benchmark.errors import StoreError
from benchmark.store import durable
from benchmark.store.checkpoints import KEPT

FP32 = 4
PNG = 0.7
"""Share of a picture's bytes that its file takes."""


def weights(parameters: float, half: bool) -> float:
    """Bytes of a trained U-Net as it is kept."""
    return parameters * FP32 / (2 if half else 1)


def checkpoints(parameters: float) -> float:
    """Bytes of a training's checkpoints, weights and two moments each: those that are kept, and the next one."""
    return (KEPT + 1) * 3 * parameters * FP32


def pictures(count: float, height: int, width: int) -> float:
    """Bytes of `count` pictures of so many pixels."""
    return count * height * width * 3 * PNG


def taken(folder: Path) -> int:
    """Bytes of all files under the folder, which need not exist."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def check(needs: Mapping[Path, float], what: str) -> None:
    """StoreError unless every folder has as many bytes free as `what` will write; those on one disk are added up.

    The folders need not exist yet.
    """
    by_disk: dict[int, list[tuple[Path, float]]] = {}
    for folder, needed in needs.items():
        with durable.storing(folder):
            by_disk.setdefault(_device(folder), []).append((folder, needed))
    for folder_needs in by_disk.values():
        folder, needed = folder_needs[0][0], sum(bytes_ for _, bytes_ in folder_needs)
        with durable.storing(folder):
            free = shutil.disk_usage(_existing(folder)).free
        if free < needed:
            folder_names = " and ".join(str(path) for path, _ in folder_needs)
            raise StoreError(
                f"{what} needs about {size(round(needed))} in {folder_names}, and the disk has {size(free)} free: free "
                f"some space or set {durable.HOME_VARIABLE} to a folder on another disk; what was made before is kept."
            )


def size(count: int) -> str:
    """`count` bytes for people, in decimal units: "3.5 GB"."""
    return filesize.decimal(count)


def _device(folder: Path) -> int:
    return _existing(folder).stat().st_dev


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists; links are followed."""
    absolute_path = folder.absolute()
    return next(path for path in (absolute_path, *absolute_path.parents) if path.is_dir()).resolve()
