"""Estimates the disk space of a run, and checks the free space before the run starts."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from rich import filesize

from benchmark.errors import StoreError
from benchmark.store import durable
from benchmark.store.checkpoints import KEPT
from benchmark.store.listing import statuses_below

FP32 = 4
PNG = 0.7
"""Size of an image file relative to the uncompressed pixels."""


def weights(parameters: float, half: bool) -> float:
    """Return the bytes of a saved U-Net, in fp32 or, with `half`, in half precision."""
    return parameters * FP32 / (2 if half else 1)


def checkpoints(parameters: float) -> float:
    """Return the bytes of a training's checkpoints, which contain weights and two optimiser moments each.

    While a new checkpoint is written, `KEPT` earlier ones exist.
    """
    return (KEPT + 1) * 3 * parameters * FP32


def pictures(count: float, height: int, width: int) -> float:
    """Return the bytes of `count` image files of `height` x `width` pixels."""
    return count * height * width * 3 * PNG


def taken(folder: Path) -> int:
    """Return the bytes of all files under `folder`, which need not exist and which another process may be changing."""
    return sum(status.st_size for _, status in statuses_below(folder) if stat.S_ISREG(status.st_mode))


def check(needs: Mapping[Path, float], what: str) -> None:
    """Check that the disk of every folder has enough free space. Needs of folders on the same disk are added.

    Args:
        needs: bytes that will be written, by folder. The folders need not exist yet.
        what: what will write them, as the subject of the error message.

    Raises:
        StoreError: a disk has too little free space.
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
                f"some space or set {durable.HOME_VARIABLE} to a folder on another disk (earlier results are saved)."
            )


def size(count: int) -> str:
    """Format `count` bytes in decimal units, e.g. "3.5 GB"."""
    return filesize.decimal(count)


def _device(folder: Path) -> int:
    return _existing(folder).stat().st_dev


def _existing(folder: Path) -> Path:
    """Return the folder itself or its nearest existing parent, with links resolved."""
    absolute_path = folder.absolute()
    return next(path for path in (absolute_path, *absolute_path.parents) if path.is_dir()).resolve()
