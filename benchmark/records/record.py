"""Records: what one (testbed, pruning, method, concept, suite, seed) came to, and where its scores lie.

`<stem>.record.json` explains itself (units, directions and back ends are in it), so that tables need no torch; the
per-image values lie beside it in `<stem>.<hash>.scores.parquet`. The JSON is written last and names the parquet file
by its contents: a kill in between leaves the old record with its old scores.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PrivateAttr, ValidationError, model_validator

from benchmark.errors import RecordError
from benchmark.registry import is_file
from benchmark.store import durable, manifest
from benchmark.store.listing import refuse_unreadable, visible
from prompts.parquet import read_parquet

if TYPE_CHECKING:
    import pyarrow


SUFFIX = ".record.json"
REFERENCE_SEED = 0
"""CP and CSD compare with the distilled model of this training seed, whatever the method's own seed."""
BROUGHT = "brought"
"""Pruning and data of a model that was made elsewhere and brought to be scored."""
MARKED = ("precision", "as_published")
"""What may differ in the samplers of one table: labels say it."""
LONGEST_STEM = 160
"""Letters that a file name may take from a record's facts: file systems take 255 bytes with hash and suffix."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Cell(_Model):
    """One figure of a table."""

    value: float | None = Field(description="the figure in `unit`; None where n is 0")
    n: int = Field(ge=0, description="images (or pairs) that were scored")
    of: int = Field(ge=0, description="images (or pairs) that should have been")
    unit: str = Field(description="unit of the value, e.g. '%', '100 cos'; empty for a plain number")
    higher_is_better: bool | None = Field(description="direction; None where neither is better")
    back_end: str = Field(description="name of the network that was read, e.g. 'mini-clip-b'; empty for none")
    ci: tuple[float, float] | None = Field(default=None, description="95 % interval in `unit`, over prompts")

    @model_validator(mode="after")
    def _counted(self) -> Cell:
        if self.n > self.of:
            raise ValueError(f"n = {self.n} is more than of = {self.of}")
        if (self.value is None) != (self.n == 0):
            raise ValueError("a cell has a value exactly where n > 0")
        return self


class Scores(_Model):
    """The per-image values, in a parquet file beside the record."""

    file: str = Field(description="name of the parquet file, beside the record")
    sha256: str = Field(description="checksum of that file")
    rows: int = Field(ge=0, description="number of images in it")


class Record(_Model):
    """The result of one (testbed, pruning, method, concept, suite, seed)."""

    newest: ClassVar[int] = 3
    """Schema 2 added `curve`, 3 added `model_key` and `setting_key`; no schema has removed a field."""

    schema_version: int = Field(default=3, description="version of this form; a newer one is refused")
    label: str = Field(description="name of the row in tables, e.g. 'distilled (seed 1)'")
    testbed: str = Field(description="what the run stood on: 'mini', 'sd21', ...")
    pruning: str = Field(description="how the base U-Net was made smaller, e.g. 'magnitude'")
    macs: float = Field(gt=0, le=1, description="share of the base U-Net's MACs that pruning keeps, 0 to 1")
    method: str = Field(description="name or file of the method; 'base' for the unpruned model")
    preset: str = Field(default="default", description="the method's preset")
    variant: str = Field(default="default", description="what else was chosen, e.g. 'attn2'; 'default' for nothing")
    solver: str | None = Field(default=None, description="the bilevel solver, where the method has one")
    concept: dict[str, JsonValue] = Field(description="what is forgotten: kind, targets, anchor, neighbours")
    data: str = Field(description="D_f, the plain captioned pictures trained on")
    budget: dict[str, JsonValue] = Field(description="what the method was allowed to spend, e.g. {'flops': 1e15}")
    suite: str = Field(description="the suite of prompts: 'artists', 'coco', ...")
    seed: int = Field(ge=0, description="seed of the training")
    recipe: int = Field(ge=0, description="version of the method's recipe")
    sampler: dict[str, JsonValue] = Field(
        description="scheduler, steps, guidance, size, the run's precision if it is not fp32: one for all of a suite"
    )
    reference: str = Field(description="the model that scores are relative to: 'distilled' or 'base'")
    reference_key: str = Field(default="", description="store key of that model: which training of it")
    model_key: str = Field(default="", description="store key of the model: its settings, code, weights and seed")
    setting_key: str = Field(default="", description="store key of the same model, had its training seed been 0")
    world: dict[str, JsonValue] = Field(default={}, description="fingerprint of the testbed's weights and data")
    counted: dict[str, JsonValue] = Field(default={}, description="MACs that pruning kept, and how they were counted")
    cells: dict[str, Cell] = Field(description="column -> figure, e.g. 'clip', 'fid[mini]'")
    ledger: list[dict[str, JsonValue]] = Field(description="what was spent, phase by phase")
    curve: list[dict[str, JsonValue]] = Field(default=[], description="mean losses over iterations and FLOPs, by phase")
    made: dict[str, JsonValue] = Field(description="provenance: versions, commit, python, platform, time")
    images: str | None = Field(default=None, description="folder of the images, relative to the runs folder")
    scores: Scores | None = Field(default=None, description="the per-image values; filled in by write_record")

    _folder: Path | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _counts(self) -> Record:
        """Check that what tables and figures compute with exists and is made of numbers, even in an edited record."""
        if not isinstance(self.concept.get("targets", []), list):
            raise ValueError("concept: targets is not a list")
        for name, rows in (("budget", [self.budget]), ("ledger", self.ledger), ("curve", self.curve)):
            for row in rows:
                if wrong_keys := [
                    key for key, value in row.items() if key != "phase" and isinstance(value, str | list | dict)
                ]:
                    raise ValueError(f"{name}: {wrong_keys[0]} is not a number")
        if any(not {"phase", "iteration", "flops"} <= row.keys() for row in self.curve):
            raise ValueError("curve: a row lacks its phase, iteration or flops")
        return self

    @property
    def folder(self) -> Path | None:
        """Where the record was read from or written to; None before."""
        return self._folder

    @property
    def stem(self) -> str:
        """The file name: the same for the same run, so that scoring again replaces it.

        A user's files can change under one name, so for them another model is another run.
        """
        own_files = self.pruning == BROUGHT or any(map(is_file, (self.method, self.pruning, self.variant)))
        return self._stem(self.model_key if own_files else "")

    @property
    def settings_stem(self) -> str:
        """The stem as the settings alone give it: that of all records before schema 3."""
        return self._stem("")

    def _stem(self, model_key: str) -> str:
        left_out = {"cells", "ledger", "curve", "made", "images", "scores", "label", "schema_version", "counted"}
        text = manifest.canonical(self.model_dump(mode="json", exclude={*left_out, "model_key", "setting_key"}))
        words = re.sub(r"[^A-Za-z0-9.]+", "-", f"{self.testbed}-{self.method}-{self.suite}-seed{self.seed}").strip("-")
        return f"{words[-LONGEST_STEM:]}-{hashlib.sha256((text + model_key).encode()).hexdigest()[:8]}"

    @property
    def model_id(self) -> str:
        """The first eight digits of the model's store key; empty where an old record does not say it.

        Records before schema 3 have it in the name of their images' folder alone.
        """
        named = re.fullmatch(r"images/.*-([0-9a-f]{8})/[^/]+", self.images or "", re.DOTALL)
        return self.model_key[:8] or (named[1] if named else "")

    @property
    def setting_id(self) -> str:
        """The same of the model with training seed 0, which all seeds of one setting share; empty if not known."""
        return self.setting_key[:8] or (self.model_id if self.seed == 0 else "")


def scores_table(
    ids: Sequence[str],
    parts: Sequence[str],
    targets: Sequence[str],
    seeds: Sequence[int],
    values: Mapping[str, Sequence[float | None]],
) -> pyarrow.Table:
    """One row an image: id, part, target, seed and a float64 column a metric (None where it has no value).

    Prompts are named by id alone; their text is never stored with scores, since some suites are explicit.
    """
    import pyarrow as pa

    columns = {"id": pa.array(ids, pa.string()), "part": pa.array(parts, pa.string())}
    columns |= {"target": pa.array(targets, pa.string()), "seed": pa.array(seeds, pa.int64())}
    return pa.table(columns | {name: pa.array(column, pa.float64()) for name, column in values.items()})


def write_record(folder: Path, record: Record, scores: pyarrow.Table) -> Record:
    """Write `record` and its `scores` (see `scores_table`) into `folder`, durably, in place of an earlier one.

    Returns the record with `scores` and `folder` filled in. Raises StoreError, and ValueError for a scores table of
    another form.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    _check_columns(scores)
    sink = pa.BufferOutputStream()
    pq.write_table(scores, sink)
    data = sink.getvalue().to_pybytes()
    digest = hashlib.sha256(data).hexdigest()
    entry = Scores(file=f"{record.stem}.{digest[:12]}.scores.parquet", sha256=digest, rows=scores.num_rows)
    written = record.model_copy(update={"scores": entry})
    written._folder = folder
    path = folder / (record.stem + SUFFIX)
    earlier_scores = None
    with suppress(RecordError, FileNotFoundError):
        earlier_scores = read_record(path).scores
    durable.write_bytes(folder / entry.file, data)
    durable.write_bytes(path, (written.model_dump_json(indent=1) + "\n").encode())
    if earlier_scores is not None and earlier_scores.file != entry.file:
        with suppress(OSError):
            (folder / earlier_scores.file).unlink()
    _remove_older_form(folder, written)
    return written


def _remove_older_form(folder: Path, written: Record) -> None:
    """Remove the record of the same run under the name that it had before schema 3, if `written` has another name."""
    path = folder / (written.settings_stem + SUFFIX)
    if path.name == written.stem + SUFFIX:
        return
    with suppress(RecordError, OSError):
        older = read_record(path)
        if older.model_id == written.model_id and not older.model_key:
            path.unlink()
            if older.scores is not None:
                (folder / older.scores.file).unlink()


def read_records(folders: Iterable[Path]) -> list[Record]:
    """All records under `folders` in order of their names, hidden files passed over; a folder that does not exist has
    none.

    Raises RecordError, naming the file, for one of a newer schema and one that is damaged, and DataError for what has a
    record's name and is no file.
    """
    records = []
    for path in (path for folder in folders for path in visible(Path(folder), "**/*" + SUFFIX)):
        try:
            records.append(read_record(path))
        except FileNotFoundError as error:
            if path.is_symlink():
                raise RecordError(f"The record {path} is a link to nothing: move it away.") from error
            # else another process has removed it since the folder was listed
    return records


def refuse_newer(folder: Path) -> None:
    """Raise RecordError if a record in `folder` is of a newer schema: what was run would be written in its place."""
    for path in visible(folder, "*" + SUFFIX):
        with suppress(OSError, ValueError):
            _check_version(json.loads(path.read_bytes()), path)


def read_scores(record: Record) -> pyarrow.Table:
    """The per-image values of a record that was read or written. Raises RecordError if they are not as recorded."""
    if record.folder is None or record.scores is None:
        raise ValueError("this record was never written, so it has no scores")
    path = record.folder / record.scores.file
    remedy = "run `bench run` again with the same options to score it anew"
    refuse_unreadable(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecordError(f"The scores {path} cannot be read ({error.strerror}): {remedy}.") from error
    if hashlib.sha256(data).hexdigest() != record.scores.sha256:
        raise RecordError(f"The scores {path} do not match the checksum in their record: {remedy}.")
    return read_parquet(data)


def check_one_sampler(records: Iterable[Record]) -> None:
    """Raise RecordError if two records of one testbed and suite were sampled differently.

    Other weights or data make another testbed of the name, whose rows are marked as such.
    """
    first_records: dict[tuple[str, str, str], Record] = {}
    for record in records:
        world = manifest.canonical(dict(record.world))
        first_record = first_records.setdefault((record.testbed, record.suite, world), record)
        keys = {*first_record.sampler, *record.sampler}.difference(MARKED)
        if differing := sorted(key for key in keys if first_record.sampler.get(key) != record.sampler.get(key)):
            raise RecordError(
                f"The records {first_record.stem} and {record.stem} of suite {record.suite!r} were sampled with "
                f"different {', '.join(differing)}: move one away or run it again with the other's sampler."
            )


def read_record(path: Path) -> Record:
    """The record in one file. Raises FileNotFoundError, and RecordError as `read_records` does."""
    remedy = "move it away and run `bench run` again"
    try:
        raw: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise
    except IsADirectoryError as error:
        raise RecordError(f"The record {path} is a folder: move it away.") from error
    except OSError as error:
        raise RecordError(f"The record {path} cannot be read ({error.strerror}): make it readable.") from error
    except ValueError as error:
        raise RecordError(f"The record {path} is damaged (it is not JSON): {remedy}.") from error
    _check_version(raw, path)
    try:
        record = Record.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        location = ".".join(str(part) for part in first["loc"]) or "record"
        raise RecordError(f"The record {path} is damaged ({location}: {first['msg']}): {remedy}.") from error
    record._folder = path.parent
    return record


def _check_version(raw: Any, path: Path) -> None:
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if type(version) is int and version > Record.newest:
        raise RecordError(
            f"The record {path} was written by a newer palimpsest (schema {version}, this one reads "
            f"{Record.newest}): update palimpsest or move the file away."
        )


def _check_columns(scores: pyarrow.Table) -> None:
    import pyarrow as pa

    fixed = {"id": pa.string(), "part": pa.string(), "target": pa.string(), "seed": pa.int64()}
    for name, kind in fixed.items():
        if name not in scores.column_names or scores.schema.field(name).type != kind:
            raise ValueError(f"the scores table has no {kind} column {name!r}")
    for field in scores.schema:
        if field.name not in fixed and not pa.types.is_floating(field.type):
            raise ValueError(f"the scores column {field.name!r} is {field.type}; beside {', '.join(fixed)} only floats")
