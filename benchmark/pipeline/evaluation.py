"""Samples pictures from models, scores them, and writes records, for trained models and external checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.api.request import Outcome
from benchmark.records import provenance
from benchmark.store import paths
from benchmark.suites import prompts as suite_prompts

if TYPE_CHECKING:
    from benchmark.api.model import Model
    from benchmark.api.suite import Evidence
    from benchmark.api.testbed import Workbench
    from benchmark.pipeline.run_facts import RunFacts
    from benchmark.records.record import Record
    from benchmark.suites.load import SuiteInRun
    from prompts.concepts import Concept
    from prompts.lists import Prompt


def measure(
    bench: Workbench,
    rows: Sequence[Model],
    reference: Model,
    suites: Sequence[SuiteInRun],
    prompts_by_suite: Mapping[str, Sequence[Prompt]],
    concept: Concept,
    facts: RunFacts,
    reveal: bool,
) -> Outcome:
    """Return the records of all models on all suites.

    All processes of a distributed run must call this; only the main process scores.

    Args:
        bench: testbed and store.
        rows: models to score; the first is the base, the last is the model of the request.
        reference: one of the rows, the reference of CP and CSD.
        suites: suites to run.
        prompts_by_suite: the prompts of each suite, by the suite's name.
        concept: the concept to erase.
        facts: what the records state about how they were made.
        reveal: whether explicit pictures are not blurred on the contact sheet.
    """
    from accelerate import PartialState

    from benchmark.api.suite import Evidence
    from benchmark.generation.features import features
    from benchmark.generation.gallery import hang, name_of
    from benchmark.generation.images import sample_missing
    from benchmark.generation.run_sheet import write_run_sheet
    from benchmark.generation.shards import kind_of

    home = bench.store.home
    for suite in suites:
        for row in rows:
            sample_missing(bench, row, prompts_by_suite[suite.name], suite)
    images = home / "images"
    folders = {"images": images / name_of(rows[-1]), "records": paths.records_folder(home)}
    if not PartialState().is_main_process:
        return Outcome([], folders)

    records = []
    for suite in suites:
        prompts = prompts_by_suite[suite.name]
        row_features = [features(bench, row, prompts, suite) for row in rows]
        reference_features = row_features[list(rows).index(reference)]
        for row, own in zip(rows, row_features, strict=True):
            evidence = Evidence(bench.testbed, bench.store, concept, prompts, own, reference_features, row_features[0])
            with bench.progress.doing(f"score {row.label}: {suite.name}"):
                records.append(_score(bench, row, suite, evidence, reference, facts, home))
            hang(bench, row, prompts, home / str(records[-1].images), kind_of(suite))
    with bench.progress.doing("contact sheet"):
        sheet = write_run_sheet(bench, rows, suites[0], prompts_by_suite[suites[0].name], concept, home, reveal=reveal)
    return Outcome(records, {"contact sheet": sheet, **folders})


def _score(
    bench: Workbench,
    model: Model,
    suite: SuiteInRun,
    evidence: Evidence,
    reference: Model,
    facts: RunFacts,
    home: Path,
) -> Record:
    from benchmark.api.model import PictureSource
    from benchmark.generation.gallery import name_of
    from benchmark.generation.shards import ONE_COLOUR, count_single_colour, kind_of
    from benchmark.records.record import OWN_SAMPLER, Record, scores_table, write_record
    from benchmark.store.artefacts import key_of

    scores = suite.score(evidence)
    lists = suite_prompts.list_facts(bench, suite.name, evidence.concept)
    one_colour_count = count_single_colour(bench, model, evidence.prompts, kind_of(suite))
    as_published = bench.as_published and bool(lists)
    left_out = [f"limit {bench.limit}"] if bench.limited else []
    sampler = bench.testbed.sampler.model_dump(mode="json")
    precision = bench.precision_entry
    if isinstance(model, PictureSource):  # only the size of its pictures is that of the testbed's sampler
        sampler = {OWN_SAMPLER: True, "latent_size": sampler["latent_size"]}
        precision = {}
    ledger: Any = model.ledger()  # mypy does not accept a TypedDict as a dict of JSON values
    record = Record(
        label=", ".join([model.label, *(["as published"] if as_published else []), *left_out, *precision.values()]),
        testbed=bench.testbed.name,
        suite=suite.name,
        concept=evidence.concept.identity(),
        sampler=sampler | ({"as_published": True} if as_published else {}) | precision | bench.limited,
        reference=reference.label,
        reference_key=key_of("model", reference.identity),
        model_key=key_of("model", model.identity),
        setting_key=key_of("model", model.setting),
        world=bench.testbed.identity() | lists | suite.world | scores.world,
        counted=model.counted() | ({ONE_COLOUR: one_colour_count} if one_colour_count else {}),
        cells=scores.cells,
        ledger=ledger,
        curve=model.curve(),
        made=provenance.collect() | suite.shown,
        # Prompts as published have the same ids as other prompts, so their pictures need a separate folder.
        images="-".join(
            [
                f"images/{name_of(model)}/{suite.name}",
                *(["as-published"] if as_published else []),
                *(f"limit{number}" for number in bench.limited.values()),
            ]
        ),
        **facts.entries(model, suite),
        **asdict(model.facts),
    )
    rows = evidence.prompts
    columns = ([p.id for p in rows], [p.part for p in rows], [p.target for p in rows], [p.seed for p in rows])
    texts = None if suite.explicit else [p.text for p in rows]
    table = scores_table(*columns, scores.columns, texts=texts, names=scores.names)
    return write_record(paths.records_folder(home), record, table)
