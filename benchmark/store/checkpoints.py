"""Saves checkpoints of running trainings: folders with tensors.safetensors, meta.json and a manifest."""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import StoreError
from benchmark.store import durable, manifest

if TYPE_CHECKING:
    from methods.base import State

_log = logging.getLogger("palimpsest")
_PREFIX = "checkpoint-"
LABEL = "label.json"
KEPT = 2  # number of saved checkpoints: the newest, and the previous one in case the newest is damaged


def newest_step(folder: Path) -> int:
    """Return the number of finished steps in the newest checkpoint in `folder`; 0 if there is none. Nothing is checked.

    The states of methods that store no step count as 0.
    """
    for number in reversed(Checkpointer(folder)._numbers()):
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            meta = json.loads((folder / f"{_PREFIX}{number:06d}" / "meta.json").read_bytes())
            return int(meta["step"])
    return 0


def write_label(folder: Path, label: str) -> None:
    """Write the label of a training into the folder of its checkpoints, for lists of unfinished trainings."""
    durable.write_bytes(folder / LABEL, json.dumps({"label": label}).encode())


def read_label(folder: Path) -> str:
    """Return the label of the training whose checkpoints are in `folder`; empty if it is not known."""
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        return str(json.loads((folder / LABEL).read_bytes())["label"])
    return ""


class Checkpointer:
    """Saves and loads training states in `folder`, usually a scratch folder of the store.

    The folder may be removed between saves by another process that finishes the same training.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def save(self, state: State) -> None:
        """Save `state` durably, and remove all earlier states except the previous one.

        Raises:
            StoreError: the state cannot be written. The earlier states are then retained.
        """
        import torch
        from safetensors.torch import save_file

        name = self.folder / _PREFIX
        meta = json.dumps(state.meta, allow_nan=False)  # before writing anything, because this can raise
        with durable.storing(name):
            temporary = durable.temporary_folder(self.folder)
        try:
            with durable.filling(temporary, name):
                # Copy, because safetensors refuses tensors that share memory or are not contiguous.
                form = torch.contiguous_format
                tensors = {k: v.detach().to("cpu", copy=True, memory_format=form) for k, v in state.tensors.items()}
                save_file(tensors, temporary / "tensors.safetensors")
            with durable.storing(name):
                (temporary / "meta.json").write_text(meta, encoding="utf-8")
                manifest.seal(temporary, {"kind": "checkpoint"})
                self._publish(temporary)
        except Exception as error:
            is_write_failure = isinstance(error, StoreError) and "no such file" not in str(error).lower()
            if is_write_failure or temporary.exists():
                raise
            return  # another process has saved the artefact and removed the scratch folder meanwhile
        finally:
            durable.remove(temporary)
        for old in self._numbers()[:-KEPT]:
            durable.remove(self._folder(old))

    def load(self) -> State | None:
        """Return the newest intact state, with its tensors on the CPU in the saved dtypes; None if there is none.

        A damaged state is removed with one warning line, and the previous one is tried.
        """
        from safetensors.torch import load_file

        from methods.base import State

        for number in reversed(self._numbers()):
            folder = self._folder(number)
            try:
                manifest.check_contents(folder, manifest.read_seal(folder))
                meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
                return State(load_file(folder / "tensors.safetensors"), meta)
            except PermissionError as error:
                raise StoreError(f"Cannot read {folder} (permission denied): make it readable.") from error
            except FileNotFoundError:
                continue  # another process has finished and removed the scratch folder
            except (manifest.Damage, manifest.Newer) as damage:
                _log.warning("The checkpoint %s is damaged (%s); the previous one is used.", folder, damage)
                durable.remove(folder)
        return None

    def clear(self) -> None:
        """Remove all states."""
        for number in self._numbers():
            durable.remove(self._folder(number))

    def _publish(self, temporary: Path) -> None:
        number = max(self._numbers(), default=0) + 1
        while True:
            try:
                return durable.publish(temporary, self._folder(number))
            except FileExistsError:  # another process computes the same artefact
                number += 1

    def _folder(self, number: int) -> Path:
        return self.folder / f"{_PREFIX}{number:06d}"

    def _numbers(self) -> list[int]:
        numbers = []
        with suppress(FileNotFoundError):
            for name in os.listdir(self.folder):
                digits = name.removeprefix(_PREFIX)
                if digits != name and digits.isdecimal():
                    numbers.append(int(digits))
        return sorted(numbers)
