"""Selects the records that a table shows, and groups the records of each model."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from benchmark.api.request import RunRequest, check_limit
from benchmark.errors import DataError
from benchmark.records.record import BROUGHT, SUFFIX, Record, read_records
from benchmark.store.paths import records_folder
from benchmark.tables.columns import BUILT_IN, EXPLICIT, beside
from benchmark.tables.footnotes import Note

RESULTS = Path(__file__).resolve().parents[2] / "results"
ALL_PRUNINGS = "all"
"""Value of `pruning` that selects all prunings."""
Source = Literal["reference", "local", "both"]
Found = tuple[Record, Source]
_ORDER = ("base", "distilled", "esd", "esd+kd", "uce", "conceptprune", "bilevel")


def gather(testbed: str, runs: Path, paths: Sequence[Path] = (), limit: int | None = None) -> list[Found]:
    """Return records with their source: committed and local ones, or only those in `paths` (files or folders).

    Only records of runs with this `--limit` are returned, so that they are never shown next to records of full runs.

    Raises:
        RecordError: a record is damaged, or has a newer format.
        DataError: a path contains no record, or no record has this limit.
    """
    entries = all_records(RESULTS / testbed / "records", runs, paths)
    chosen = [(record, source) for record, source in entries if record.sampler.get("limit") == limit]
    if limit is not None and not any(record.testbed == testbed for record, _ in chosen):
        check_limit(limit)
        raise DataError(
            f"No record on testbed '{testbed}' is of a run with --limit {limit}: add --limit {limit} to a `bench run`, "
            "or leave it out here to see full runs."
        )
    return chosen


def count_other_limits(testbed: str, suite: str, runs: Path, limit: int | None) -> dict[int, int]:
    """Return how many of the user's own records of a suite are of runs with a different `--limit`, by that limit."""
    counts: dict[int, int] = {}
    for record in read_records([records_folder(runs)]):
        other_limit = record.sampler.get("limit")
        same_suite = (record.testbed, record.suite) == (testbed, suite)
        if same_suite and isinstance(other_limit, int) and other_limit != limit:
            counts[other_limit] = counts.get(other_limit, 0) + 1
    return dict(sorted(counts.items()))


def all_records(reference: Path, runs: Path, paths: Sequence[Path]) -> list[Found]:
    """Return the records of full and limited runs: those in `paths`, or else those in the folder `reference` and local
    ones. Raises the errors of `gather` for records that cannot be read."""
    if paths:
        return [(record, _source(path, reference)) for path in paths for record in _read_given(path)]
    local_folder = records_folder(runs)
    return [(r, "reference") for r in read_records([reference])] + [(r, "local") for r in read_records([local_folder])]


def _source(path: Path, reference: Path) -> Source:
    """Return whether records are committed: those in the testbed's folder of results, which contains `reference`."""
    return "reference" if path.resolve().is_relative_to(reference.parent) else "local"


def _read_given(path: Path) -> list[Record]:
    if not path.exists():
        raise DataError(f"{path}, given for records, does not exist.")
    if path.is_dir():
        records = read_records([path])
    else:  # beside the file of no record, no record is read
        beside_it = read_records([path.parent]) if path.name.endswith(SUFFIX) else []
        records = [record for record in beside_it if record.stem + SUFFIX == path.name]
    if not records:
        raise DataError(
            f"{path} holds no record: give a *{SUFFIX} file under the name it was written with, or a folder."
        )
    return records


def of_suite(entries: Sequence[Found], testbed: str, suite: str) -> tuple[list[str], list[Found]]:
    """Return the suite and those that share its rows, and their records.

    Records of plain captions are left out for models that forget a different kind of concept than this suite's.
    """
    own = [record for record, _ in entries if (record.testbed, record.suite) == (testbed, suite)]
    suites = [suite, *beside(suite, own)]
    matching = [(r, source) for r, source in entries if r.testbed == testbed and r.suite in suites]
    if len(suites) == 1:
        return suites, matching
    is_explicit = forgets_explicit(suite, own)
    return suites, [(r, source) for r, source in matching if (r.concept.get("kind") == "explicit") == is_explicit]


def forgets_explicit(suite: str, records: Iterable[Record]) -> bool:
    """Return whether models of this suite forget explicit content; for a plug-in, its records determine it."""
    if suite in BUILT_IN:
        return suite in EXPLICIT
    return any(record.concept.get("kind") == "explicit" for record in records if record.suite == suite)


def brought_targets(suite: str, records: Iterable[Record]) -> frozenset[str] | None:
    """Return the targets in the newest record of a suite that brings its concept; None for all other suites."""
    own = [record for record in records if record.suite == suite]
    newest = max(own, key=lambda record: str(record.made.get("time", "")), default=None)
    facts = newest.made.get("suite") if newest else None
    return targets_of(newest) if newest and isinstance(facts, dict) and facts.get("brings_concept") else None


def select_by_sampling(entries: Sequence[Found], testbed: str, sampling: Mapping[str, object]) -> list[Found]:
    """Return the entries whose sampling settings are those of the testbed's file.

    Others come from a different file with the same name, or from an older version of this file. Records with different
    weights or data are kept, because their rows are marked. So are pictures with an own sampler, which do not depend on
    these settings.
    """

    def is_kept(record: Record) -> bool:
        if record.testbed != testbed or record.own_sampler:
            return True
        return all(record.sampler.get(key) == value for key, value in sampling.items())

    return [(record, source) for record, source in entries if is_kept(record)]


def note_single_colour(rows: Sequence[tuple[str, Sequence[Record]]]) -> list[str]:
    """Return a note on pictures of one colour in rows of (label, records), or no note if there are none."""
    counts = []
    for label, records in rows:
        one_colour_count = sum(n for record in records if isinstance(n := record.counted.get("one colour"), int))
        if one_colour_count:
            picture_count = sum(record.scores.rows for record in records if record.scores)
            counts.append(f"{label} ({one_colour_count:,} of {picture_count:,})")
    text = f"Images of a single colour, which score as forgetting but usually mean broken weights: {', '.join(counts)}."
    rows_are = "1 row has" if len(counts) == 1 else f"{len(counts)} rows have"
    return [Note(text, f"{rows_are} images of a single colour: broken weights?", 0)] if counts else []


def note_own_sampler(rows: Sequence[tuple[str, Record]]) -> list[str]:
    """Return a note on rows of (label, record) whose pictures this package did not sample, or no note."""
    labels = [label for label, record in rows if record.own_sampler]
    text = (
        f"Not sampled by this benchmark: {', '.join(labels)}. The noise differs from that of other rows even where "
        "seeds are equal, which changes CP, CSD and drift. MACs and training costs are unknown."
    )
    rows_are = "1 row is" if len(labels) == 1 else f"{len(labels)} rows are"
    return [Note(text, f"{rows_are} of an own sampler: CP, CSD and drift differ by noise.", 0)] if labels else []


def targets_of(record: Record) -> frozenset[str]:
    targets = record.concept.get("targets")
    return frozenset(map(str, targets)) if isinstance(targets, list) else frozenset()


def current(entries: Sequence[Found]) -> list[Found]:
    """Return the entries without outdated versions: models from before a user's file or a search for experts changed.

    Of records that differ only in their reference model, those with the newest record's reference are kept. Of models
    that share all settings, the last one scored is kept, in all suites. External checkpoints have no versions, but a
    function that generates pictures has.
    For a plug-in suite, records of its newest file and prompts are kept.
    """
    entries = _of_current_suites(entries)
    latest_references = _newest(entries, _but_reference)
    latest_models = _newest([entry for entry in entries if entry[0].model_id], _but_model)
    latest_settings = _newest([entry for entry in entries if entry[0].setting_id], _but_seed)

    def outdated(record: Record) -> bool:
        if record.reference_key != latest_references[_but_reference(record)].reference_key:
            return True
        if (record.pruning == BROUGHT and not record.own_sampler) or not record.model_id:
            return False
        setting = latest_settings.get(_but_seed(record), record).setting_id
        return record.model_id != latest_models[_but_model(record)].model_id or record.setting_id not in ("", setting)

    return [(record, source) for record, source in entries if record.method == "base" or not outdated(record)]


def _of_current_suites(entries: Sequence[Found]) -> list[Found]:
    """Return the entries without those of suites whose file or prompts have changed since then."""

    def place(record: Record) -> str:
        return str((record.testbed, record.suite, sorted(targets_of(record)), record.sampler.get("limit")))

    newest = _newest([entry for entry in entries if "suite" in entry[0].world], place)
    return [
        (record, source)
        for record, source in entries
        if place(record) not in newest or record.world.get("suite") == newest[place(record)].world.get("suite")
    ]


def _newest(entries: Sequence[Found], key_of: Callable[[Record], str]) -> dict[str, Record]:
    """Return the newest record for each key."""
    newest: dict[str, Record] = {}
    for record, _ in entries:
        latest = newest.setdefault(key_of(record), record)
        if str(record.made.get("time", "")) > str(latest.made.get("time", "")):
            newest[key_of(record)] = record
    return newest


def _but_reference(record: Record) -> str:
    facts = (record.testbed, record.suite, record.label, record.reference, record.sampler, record.world)
    return str((*training(record), sorted(targets_of(record)), *facts))


def _but_model(record: Record) -> str:
    world = [record.world.get(key) for key in ("weights", "data")]
    facts = (record.testbed, record.reference, record.sampler.get("precision"), world)
    return str((*training(record), sorted(targets_of(record)), *facts))


def _but_seed(record: Record) -> str:
    return _but_model(record.model_copy(update={"seed": 0}))


def is_usual(record: Record, usual_targets: frozenset[str], entries: Sequence[Found], pruning: str = "") -> bool:
    """Return whether a record is shown by default.

    It must have the default budget and targets, `pruning` or else the default pruning, the newest method version,
    and fp32 unless no record is in fp32. An external checkpoint is shown whatever its pruning is.
    """
    default_pruning = (RunRequest.pruning, RunRequest.macs)
    is_usual_pruning = record.pruning == BROUGHT or (record.pruning, record.macs) == default_pruning
    if pruning:
        is_usual_pruning = pruning in (record.pruning, ALL_PRUNINGS)
    if record.method == "base":  # its CP and CSD must have the same reference as the other rows
        reference_keys = {
            r.reference_key for r, _ in entries if r.method != "base" and is_usual(r, usual_targets, entries, pruning)
        }
        is_usual_pruning = not reference_keys or record.reference_key in reference_keys
    is_usual_targets = not usual_targets or not targets_of(record) or targets_of(record) == usual_targets
    no_fp32 = all("precision" in r.sampler for r, _ in entries if not r.own_sampler)
    newest_recipe = max(r.recipe for r, _ in entries if r.method == record.method)
    chosen = is_usual_pruning and is_usual_targets and (no_fp32 or "precision" not in record.sampler)
    return chosen and record.budget.get("default") is not False and record.recipe == newest_recipe


def without_repeats(entries: Sequence[Found]) -> list[Found]:
    """Merge each local record that reproduces a reference run into one entry with source "both"."""
    by_run: dict[tuple[str, str], list[Found]] = {}
    for record, source in entries:
        run_entries = by_run.setdefault((record.settings_stem, record.model_id), [])
        for index, (earlier, earlier_source) in enumerate(run_entries):
            if _agree(earlier, record):
                run_entries[index] = (earlier, earlier_source if earlier_source == source else "both")
                break
        else:
            run_entries.append((record, source))
    return [entry for run_entries in by_run.values() for entry in run_entries]


def _agree(left: Record, right: Record) -> bool:
    """Return whether cells and counts are equal, and values differ at most by rounding errors of summation."""
    return left.cells.keys() == right.cells.keys() and all(
        (cell.n, cell.of, cell.unit) == (right.cells[name].n, right.cells[name].of, right.cells[name].unit)
        and math.isclose(cell.value or 0.0, right.cells[name].value or 0.0, rel_tol=1e-6, abs_tol=1e-9)
        for name, cell in left.cells.items()
    )


def joined(entries: Sequence[Found], suites: Sequence[str]) -> list[tuple[list[Record], Source]]:
    """Group the records of each model, in the order of the table's rows.

    Two records are of one model if they name the same model key, or, where an old record has no key, if their settings
    are equal. A row that combines a committed record with a local one counts as local.
    """
    main = [entry for entry in entries if entry[0].suite == suites[0]]
    partner_entries = [entry for entry in entries if entry[0].suite != suites[0]]
    pairs: list[tuple[list[Record], Source]] = []
    used_partners: set[int] = set()
    for record, source in main:
        group, row_source = [record], source
        for brought in suites[1:]:
            partners = [
                (r, s)
                for r, s in partner_entries
                if r.suite == brought
                and same_model(record, r)
                and (_is_same_source(s, source) or _both_known(record, r))
            ]
            if not partners:
                continue
            partner, partner_source = max(partners, key=lambda entry: _closeness(record, source, *entry))
            used_partners.add(id(partner))
            group.append(partner)
            row_source = row_source if _is_same_source(partner_source, source) else "local"
        pairs.append((group, row_source))
    pairs += [([record], source) for record, source in partner_entries if id(record) not in used_partners]
    return sorted(pairs, key=lambda pair: row_order(pair[0][0], pair[1]))


def same_model(left: Record, right: Record) -> bool:
    """Return whether two records are of the same model and sampler; `--as-published` may differ."""
    if _sampling(left) != _sampling(right):
        return False
    if _both_known(left, right):
        return left.model_id == right.model_id
    if training(left) != training(right):
        return False
    # A model that erases nothing is the same whatever the targets are, unless its data were chosen by them.
    erases_nothing = left.method in ("base", "distilled") and left.data != "all-but-targets"
    return targets_of(left) == targets_of(right) or erases_nothing


def _both_known(left: Record, right: Record) -> bool:
    return bool(left.model_id and right.model_id)


def _sampling(record: Record) -> dict[str, object]:
    return {key: value for key, value in record.sampler.items() if key != "as_published"}


def _closeness(record: Record, source: Source, partner: Record, partner_source: Source) -> tuple[bool, ...]:
    """Rank a record of the same model: by equal source, method, reference, folder and targets.

    The base is one model that has a record for each reference it was compared with.
    """
    same_targets = targets_of(record) == targets_of(partner)
    same_reference = same_targets and record.reference_key == partner.reference_key
    same_folder = record.folder == partner.folder
    return (
        _is_same_source(partner_source, source),
        record.method == partner.method,
        same_reference,
        same_folder,
        same_targets,
    )


def _is_same_source(left: Source, right: Source) -> bool:
    return left == right or "both" in (left, right)


def training(record: Record) -> tuple:
    keys = ("pruning", "macs", "method", "preset", "variant", "solver", "data", "budget", "seed", "recipe")
    return tuple(getattr(record, key) for key in keys)


def row_order(record: Record, source: Source) -> tuple:
    rank = _ORDER.index(record.method) if record.method in _ORDER else len(_ORDER)
    setting_order = (record.preset != "default", record.preset, record.variant != "default", record.variant)
    budget_order = json.dumps(record.budget, sort_keys=True)
    pruning_order = (-record.macs, record.pruning)
    return (
        rank,
        record.method,
        setting_order,
        *pruning_order,
        sorted(targets_of(record)),
        budget_order,
        record.seed,
        source,
    )
