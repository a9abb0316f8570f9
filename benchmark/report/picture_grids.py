"""Picture grids of a report: all models with the same prompts and seeds, those of the best, median and worst scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmark.records.record import Record, read_scores
from benchmark.report.contents import Contents
from benchmark.report.leaderboards import Leaderboard
from benchmark.report.stored_pictures import Embedder, Stored, find_picture, folder_of, may_be_explicit
from benchmark.suites.explicit import SCORE
from benchmark.suites.feature_metrics import FORGOTTEN
from benchmark.tables.columns import EXPLICIT, named
from benchmark.tables.over_seeds import groups_of
from benchmark.tables.table import Row

EACH = 2
"""Number of prompts with the best, the median and the worst scores."""
PREFERRED = {"erased": ("target_style", "clip", "csd"), "kept": ("kept_style", "clip", "content_plain", "csd")}
"""Scores that prompts are sorted by, if pictures have them; otherwise the first score of the suite is used."""
DETECTION = "highest detection"
"""Score of a picture of an explicit suite: that of its clearest detection, 0 if there is none."""
FIXED = ("id", "part", "target", "seed")
UNSHOWN = (*FIXED, "text", "likeliest_style")
"""Columns of the parquet file that are not scores: names, texts and, in old records, the number of a class."""
SIDES = {"erased": "Erased: prompts for what should be forgotten", "kept": "Kept: prompts for what should be preserved"}


@dataclass(frozen=True)
class Picture:
    """One picture with the text that is shown when it has the focus."""

    source: str
    """Data URI."""
    alt: str
    scores: list[tuple[str, str]]


@dataclass(frozen=True)
class PictureLine:
    """The pictures of all models for one prompt; None for a model that has no picture of it."""

    rank: str
    prompt: str
    seed: int
    part: str
    pictures: list[Picture | None]


@dataclass(frozen=True)
class PictureGrid:
    """A grid with one row per prompt and one column per model."""

    id: str
    title: str
    order: str
    """How prompts were chosen, as a sentence."""
    blurred: bool
    labels: list[str]
    lines: list[PictureLine]


@dataclass(frozen=True)
class _Model:
    """A column of a grid: a record, and for each prompt that has a picture its scores and the picture."""

    label: str
    record: Record
    rows: Mapping[str, Mapping[str, object]]
    pictures: dict[str, Stored]


def picture_grids(
    contents: Contents, board: Leaderboard, embedder: Embedder, done: set[tuple[str, ...]]
) -> tuple[list[PictureGrid], bool]:
    """Return the grids of a leaderboard, erased and kept prompts of its suite and the plain captions, and whether any
    of its records has pictures.

    Only the first training seed of each model is shown.

    Args:
        contents: the records of the report.
        board: the leaderboard.
        embedder: encodes the pictures.
        done: the side and the records of all grids so far; grids of the same records are not repeated. Extended here.
    """
    groups, _ = groups_of(board.table.rows)
    grids: list[PictureGrid] = []
    has_pictures = False
    for suite in dict.fromkeys([board.suite, "coco"]):
        records = [(group[0].label, record) for group in groups for record in _records(contents, group[0], suite)]
        for side in SIDES:
            models = [model for named_record in records if (model := _model(contents, *named_record, side)).pictures]
            has_pictures |= bool(models)
            same = (side, *(model.record.stem for model in models))
            if same in done:
                continue
            done.add(same)
            if models and (grid := _grid(f"{board.id}:{suite}-{side}", suite, side, models, embedder)):
                grids.append(grid)
    return grids, has_pictures


def _records(contents: Contents, row: Row, suite: str) -> list[Record]:
    return [record for record in contents.run_of(row.record).records if record.suite == suite]


def _model(contents: Contents, label: str, record: Record, side: str) -> _Model:
    folder = folder_of(record, contents.runs)
    if folder is None or record.scores is None:
        return _Model(label, record, {}, {})
    rows = {str(row["id"]): row for row in _scored(record) if _side(record, str(row["part"])) == side}
    pictures = {name: stored for name, row in rows.items() if (stored := find_picture(folder, name, _seed(row)))}
    return _Model(label, record, rows, pictures)


def _side(record: Record, part: str) -> str:
    return "erased" if record.suite in EXPLICIT or part in FORGOTTEN else "kept"


def _scored(record: Record) -> list[dict[str, object]]:
    """Return the per-image scores as one dictionary per picture, with the clearest detection of explicit content."""
    scored: list[dict[str, object]] = read_scores(record).to_pylist()
    for row in scored:
        detections = [row.pop(name) for name in [*row] if name.startswith(SCORE)]
        if detections:
            row[DETECTION] = max((value for value in detections if isinstance(value, float)), default=0.0)
    return scored


def _seed(row: Mapping[str, object]) -> int:
    return int(str(row["seed"]))


def _grid(name: str, suite: str, side: str, models: Sequence[_Model], embedder: Embedder) -> PictureGrid | None:
    erasing = [model for model in models if model.record.method not in ("base", "distilled")] or models
    score = _score_of(side, erasing)
    better = _direction(score, erasing[0].record)
    means = _means(score, erasing, _prompts_of_all(models))
    ordered = sorted(means, key=lambda prompt: (-means[prompt] if better else means[prompt], prompt))
    lines = []
    for rank, prompts in _chosen(ordered, better is not None).items():
        lines += [_line(rank, prompt, models, embedder) for prompt in prompts]
    lines = [line for line in lines if any(line.pictures)]
    if not lines:
        return None
    shown = [(model.record, model.pictures[ordered[0]].path) for model in models if ordered[0] in model.pictures]
    blurred = not embedder.reveal and any(may_be_explicit(*picture) for picture in shown)
    title = f"{SIDES[side]} (plain captions)" if suite == "coco" else SIDES[side]
    of = "the methods that erase" if len(erasing) < len(models) else "these models"
    order = f"Prompts are sorted by their {score.replace('_', ' ')}, averaged over {of}." if score else ""
    return PictureGrid(name, title, order, blurred, [model.label for model in models], lines)


def _prompts_of_all(models: Sequence[_Model]) -> list[str]:
    """Return the ids of the prompts that all models have a picture of; those that any model has if there are none."""
    common = set.intersection(*(set(model.pictures) for model in models))
    chosen = common or set.union(*(set(model.pictures) for model in models))
    return [name for model in models for name in model.pictures if name in chosen]


def _score_of(side: str, models: Sequence[_Model]) -> str:
    """Return the score to sort prompts by: the first of `PREFERRED` that pictures have, else any; empty for none."""
    names = dict.fromkeys(
        name
        for model in models
        for prompt in model.pictures
        for name, value in model.rows[prompt].items()
        if name not in UNSHOWN and isinstance(value, float)
    )
    return next((name for name in (DETECTION, *PREFERRED[side], *names) if name in names), "")


def _direction(score: str, record: Record) -> bool | None:
    """Return whether higher is better; None if the record does not say."""
    if score == DETECTION:
        return False
    cell = named(record).get(score)
    return cell.higher_is_better if cell else None


def _means(score: str, models: Sequence[_Model], prompts: Sequence[str]) -> dict[str, float]:
    """Return the mean score of each prompt over the models; prompts without a score are left out, if any has one."""
    means: dict[str, float] = {}
    for prompt in dict.fromkeys(prompts):
        values = [value for m in models if isinstance(value := m.rows.get(prompt, {}).get(score), float)]
        if values:
            means[prompt] = sum(values) / len(values)
    return means or dict.fromkeys(prompts, 0.0)


def _chosen(ordered: Sequence[str], directed: bool) -> dict[str, list[str]]:
    """Return the first, middle and last prompts of a sorted list, without repeats, by rank."""
    middle = max(0, (len(ordered) - EACH) // 2)
    parts = (ordered[:EACH], ordered[middle : middle + EACH], ordered[-EACH:])
    ranks = ("best", "median", "worst") if directed else ("lowest", "median", "highest")
    chosen: dict[str, list[str]] = {}
    taken: set[str] = set()
    for rank, part in zip(ranks, parts, strict=True):
        chosen[rank] = [prompt for prompt in part if prompt not in taken]
        taken.update(part)
    return chosen


def _line(rank: str, prompt: str, models: Sequence[_Model], embedder: Embedder) -> PictureLine:
    """Return the pictures of one prompt. A model whose picture was sampled for a different text has none."""
    first = next(model for model in models if prompt in model.pictures)
    row, text = first.rows[prompt], first.pictures[prompt].text
    explicit = any(may_be_explicit(m.record, m.pictures[prompt].path) for m in models if prompt in m.pictures)
    words = prompt if explicit or not text else text  # prompts of explicit suites are not repeated
    pictures = []
    for model in models:
        stored = model.pictures.get(prompt)
        is_same = stored is not None and stored.text == text and _seed(model.rows[prompt]) == _seed(row)
        source = embedder.uri(stored.path, explicit) if stored and is_same else ""
        blurred = "blurred, " if explicit and not embedder.reveal else ""
        alt = f"{model.label}, {blurred}{words}, seed {_seed(row)}"
        scores = [
            (name.replace("_", " "), f"{value:.4g}")
            for name, value in model.rows.get(prompt, {}).items()
            if name not in UNSHOWN and isinstance(value, float)
        ]
        pictures.append(Picture(source, alt, scores) if source else None)
    return PictureLine(rank, words, _seed(row), str(row["part"]), pictures)
