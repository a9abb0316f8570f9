"""Models whose pictures are not sampled by this package: a user's function generates them, or they exist as files.

The testbed's sampler, noise and guidance do not apply to them, and their MACs are unknown. Their rows and records say
so (`OWN_SAMPLER`).
"""

from __future__ import annotations

import hashlib
import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import registry
from benchmark.api.model import PictureSource, TrainingFacts
from benchmark.errors import DataError, SamplingError, UsageError
from benchmark.json_types import Counted, Identity
from benchmark.models import picture_folder
from benchmark.models.picture_values import as_tensors
from benchmark.records.plugin_code import plugins_named
from benchmark.records.record import BROUGHT, Plugin

if TYPE_CHECKING:
    from torch import Tensor

    from benchmark.api.testbed import Workbench
    from prompts.lists import Prompt


FUNCTION, PICTURES = "function", "pictures"
"""Values of `form` in `Record.counted`."""
MARK = "own sampler"
"""What the label of such a row adds to its name."""
LONGEST_MESSAGE = 300
"""Largest number of characters of a function's error message that is shown."""
SIGNATURE = "def generate(prompts: list[str], seeds: list[int], size: int)"


def size_of(bench: Workbench) -> int:
    """Return the height and width of a testbed's pictures in pixels."""
    return bench.testbed.sampler.latent_size * bench.testbed.pixels


class _OwnPictures(PictureSource):
    """A model with an own sampler. `origin` is its part of the identity."""

    def __init__(self, bench: Workbench, name: str, form: str, checksum: str, origin: Identity) -> None:
        identity = {**bench.testbed.identity(), "model": BROUGHT, **origin}
        facts = TrainingFacts(name, variant=MARK, data=BROUGHT, pruning=BROUGHT)
        super().__init__(f"{name} ({MARK})", identity, facts)
        self._counted: Counted = {"checkpoint": checksum, "form": form}

    def counted(self) -> Counted:
        return self._counted


class GeneratedPictures(_OwnPictures):
    """Pictures that a user's function generates.

    It is identified by the checksum of the function's file and of the files that this imports from its folder, by the
    function's name and by the row's name. Weights that the function reads are not part of the identity.

    Args:
        bench: testbed, which sets the size of the pictures.
        place: the function, as path/to/file.py:function.
        name: the name of its row.

    Raises:
        UsageError: there is no such function, its file cannot be imported, or it takes other arguments.
    """

    def __init__(self, bench: Workbench, place: str, name: str) -> None:
        self._function = _load(place)
        self._place = place
        fingerprint = registry.fingerprint(place) or ""
        origin = {"function": place.rpartition(":")[2], "code": fingerprint, "name": name}
        super().__init__(bench, name, FUNCTION, fingerprint, origin)
        self._plugins = plugins_named([("functions", place)])

    def plugins(self) -> list[Plugin]:
        return self._plugins

    def pictures(self, bench: Workbench, prompts: Sequence[Prompt]) -> list[Tensor]:
        """Call the function for up to 32 prompts. SamplingError if it fails or returns something else than pictures."""
        span = f"prompts {prompts[0].id} to {prompts[-1].id}" if len(prompts) > 1 else f"prompt {prompts[0].id}"
        where = f"The function {self._place} (called with {span})"
        try:
            returned = self._function(
                [prompt.text for prompt in prompts], [prompt.seed for prompt in prompts], size_of(bench)
            )
        except (Exception, SystemExit) as error:
            raise SamplingError(f"{where} failed{_location(error)}: {_summary(error)}.") from error
        try:
            return as_tensors(returned, len(prompts), size_of(bench))
        except DataError as error:
            raise SamplingError(f"{where} {error}.") from None


class PictureFolder(_OwnPictures):
    """Pictures that exist as files, identified by the contents of all existing files that the folder's list names.

    Args:
        bench: testbed, which sets the size of the pictures.
        folder: the folder, with prompts.csv.
        name: the name of its row.
        prompts: the prompts of each suite of the run, by the suite's name.

    Raises:
        DataError: the list is wrong, a prompt has no picture, or a picture cannot be used; the message names it.
    """

    def __init__(self, bench: Workbench, folder: Path, name: str, prompts: Mapping[str, Sequence[Prompt]]) -> None:
        self._pictures = picture_folder.read_list(folder)
        seen: dict[str, str] = {}
        for suite, suite_prompts in prompts.items():
            picture_folder.check_prompts(folder, self._pictures, suite, suite_prompts)
            for prompt in suite_prompts:
                if seen.setdefault(prompt.id, suite) != suite:
                    raise UsageError(
                        f"Suites '{seen[prompt.id]}' and '{suite}' both have a prompt {prompt.id!r}, so a list of "
                        "pictures cannot name their prompts by id: score one suite with --alone."
                    )
        self._sha256: dict[str, str] = {}
        with bench.progress.stage(f"check the pictures of {name}", len(self._pictures), "images") as stage:
            for prompt_id, listed in self._pictures.items():
                stage.advance()
                if prompt_id not in seen and not listed.path.exists():
                    continue  # it may be generated later, for a run with more prompts
                data = picture_folder.read_bytes(listed.path)
                if prompt_id in seen:
                    picture_folder.decode(data, listed.path, size_of(bench))
                self._sha256[prompt_id] = picture_folder.sha256(data)
        lines = "\n".join(f"{prompt_id} {self._sha256[prompt_id]}" for prompt_id in sorted(self._sha256))
        checksum = hashlib.sha256(lines.encode()).hexdigest()
        super().__init__(bench, name, PICTURES, checksum, {"pictures": checksum})

    def pictures(self, bench: Workbench, prompts: Sequence[Prompt]) -> list[Tensor]:
        """Read pictures from their files. DataError if one has changed since it was checked."""
        tensors = []
        for prompt in prompts:
            path = self._pictures[prompt.id].path
            data = picture_folder.read_bytes(path)
            if picture_folder.sha256(data) != self._sha256[prompt.id]:
                raise DataError(f"The picture {path} was changed during the run: run again.")
            tensors.append(picture_folder.decode(data, path, size_of(bench)))
        return tensors

    @property
    def checksum(self) -> str:
        """The checksum over all listed pictures, which identifies them independently of their paths."""
        return str(self._counted["checkpoint"])


def _load(place: str) -> Callable[..., Any]:
    """Import a user's function and check that it takes three arguments."""
    function: Callable[..., Any] = registry.load_function(place)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a function of a C extension has none
        return function
    try:
        signature.bind([], [], 0)
    except TypeError as error:
        raise UsageError(f"The function {place} cannot be called as {SIGNATURE} ({error}).") from None
    return function


def _location(error: BaseException) -> str:
    """Return the line that failed, preferably in a user's file: a library's line says less than its caller's."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    own = [frame for frame in frames if "site-packages" not in frame.filename and Path(frame.filename).is_file()]
    frame = next(reversed(own or frames), None)
    return f" in {Path(frame.filename).name}, line {frame.lineno}" if frame else ""


def _summary(error: BaseException) -> str:
    """Return the type of an exception and the beginning of its message, on one line."""
    message = " ".join(str(error).split())
    message = f"{message[:LONGEST_MESSAGE]}..." if len(message) > LONGEST_MESSAGE else message.rstrip(".")
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
