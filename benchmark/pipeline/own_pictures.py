"""Implements `bench eval --generate` and `bench eval --images`: scores pictures that this package did not sample."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.pipeline.run import DISK_NEEDED, Scoring, beside_reference
from benchmark.store import paths
from benchmark.testbeds import resolve

if TYPE_CHECKING:
    from benchmark.api.model import PictureSource
    from benchmark.api.request import Outcome, RunRequest
    from benchmark.console import Progress


def evaluate_function(request: RunRequest, place: str, name: str, progress: Progress) -> Outcome:
    """Score pictures that a user's function generates, next to the base and the reference.

    The function is called for the first prompts before anything is trained, so that its errors are reported first.

    Args:
        request: the request, whose method is `distilled`; its budget and pruning apply only to the reference.
        place: the function, as path/to/file.py:function.
        name: the name of its row in tables.
        progress: progress display.
    """
    from benchmark.models.own_pictures import FUNCTION, GeneratedPictures

    def create(scoring: Scoring) -> PictureSource:
        return GeneratedPictures(scoring.bench, place, name)

    return _evaluate(request, create, name, FUNCTION, progress)


def evaluate_folder(request: RunRequest, folder: Path, name: str, progress: Progress) -> Outcome:
    """Score pictures that exist as files, next to the base and the reference.

    All pictures are checked before anything is trained.

    Args:
        request: the request, whose method is `distilled`; its budget and pruning apply only to the reference.
        folder: folder with `prompts.csv` and the pictures.
        name: the name of its row in tables.
        progress: progress display.
    """
    from benchmark.models.own_pictures import PICTURES, PictureFolder

    def create(scoring: Scoring) -> PictureSource:
        return PictureFolder(scoring.bench, folder, name, scoring.prompts)

    return _evaluate(request, create, name, PICTURES, progress)


def _evaluate(
    request: RunRequest, create: Callable[[Scoring], PictureSource], name: str, form: str, progress: Progress
) -> Outcome:
    from benchmark.generation.images import sample_missing
    from benchmark.generation.shards import shards
    from benchmark.models.checkpoint_names import check_name, check_name_is_free

    check_name(name)
    home = paths.prepare(request.runs, DISK_NEEDED)
    scoring = Scoring.of(request, home, progress)
    source = create(scoring)
    checksum = str(source.counted()["checkpoint"])
    check_name_is_free(paths.records_folder(home), resolve.name_of(request.testbed), name, checksum, form)
    first = scoring.suites[0]
    sample_missing(scoring.bench, source, shards(scoring.prompts[first.name])[0], first)
    return beside_reference(scoring, request, source)
