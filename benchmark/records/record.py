"""Reads and writes records: the result of one (testbed, pruning, method, concept, suite, seed).

`<stem>.record.json` contains units, directions and back ends, so that tables can be built without torch. The per-image
values are stored next to it in `<stem>.<hash>.scores.parquet`. The JSON file is written last, and the name of the
parquet file contains a hash of its contents. A process that is killed in between leaves the old record with its old
scores.
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
from benchmark.records.control_characters import find_controls, may_have_controls
from benchmark.records.score_columns import NAMES, check_columns
from benchmark.registry import is_file
from benchmark.store import durable, manifest
from benchmark.store.listing import refuse_unreadable, visible
from prompts.parquet import read_parquet

if TYPE_CHECKING:
    import pyarrow


SUFFIX = ".record.json"
REFERENCE_SEED = 0
"""Training seed of the reference model of CP and CSD, for all training seeds of the method."""
BROUGHT = "brought"
"""Value of `pruning` and `data` in the record of an external checkpoint."""
MARKED = ("precision", "as_published")
"""Sampler settings that may differ within one table, because row labels state them."""
OWN_SAMPLER = "own_sampler"
"""Key in `Record.sampler` that is true for pictures that a user's function generated, or that existed as files."""
PROVENANCE = ("made", "command", "config", "code", "plugins")
"""Fields that state how a record was made. They may differ between two records of equal results."""
LARGEST = 1 << 26  # bytes of a record's file
LONGEST_STEM = 160
"""Largest number of characters of a file name before its hash and suffix. File systems allow 255 bytes in all."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Cell(_Model):
    """One value of a record, with the number of images that it is computed from."""

    value: float | None = Field(description="the value in `unit`; None if n is 0")
    n: int = Field(ge=0, description="number of images (or pairs) that were scored")
    of: int = Field(ge=0, description="number of images (or pairs) that should have been scored")
    unit: str = Field(description="unit of the value, e.g. '%', '100 cos'; empty for a plain number")
    higher_is_better: bool | None = Field(description="whether higher values are better; None if neither direction is")
    back_end: str = Field(description="network that scored the images, e.g. 'mini-clip-b'; empty for none")
    ci: tuple[float, float] | None = Field(default=None, description="95 % interval over prompts, in `unit`")

    @model_validator(mode="after")
    def _check_counts(self) -> Cell:
        if self.n > self.of:
            raise ValueError(f"n = {self.n} is more than of = {self.of}")
        if (self.value is None) != (self.n == 0):
            raise ValueError("a cell must have a value if n > 0 and none if n = 0")
        return self


class Scores(_Model):
    """Reference to the parquet file with the per-image values."""

    file: str = Field(pattern=r"^[^/\\\x00]+\.parquet$", description="name of the parquet file, beside the record")
    sha256: str = Field(description="SHA-256 checksum of that file, hexadecimal")
    rows: int = Field(ge=0, description="number of images in it")


class Plugin(_Model):
    """Code of a user or of another package that a result was made with."""

    group: str = Field(description="what it is: 'methods', 'prunings', 'objectives', 'metrics', 'suites', ...")
    name: str = Field(description="name of the class or function; of a TOML file, its name without suffix")
    file: str = Field(description="its file as the user typed it, with ~ for the home; if installed, module:object")
    sha256: str = Field(description="SHA-256 of its code and of the files that it imports from its folder")


class Record(_Model):
    """The result of one (testbed, pruning, method, concept, suite, seed)."""

    newest: ClassVar[int] = 4
    """Newest schema. Schema 2 added `curve`, 3 added `model_key` and `setting_key`, 4 added `command`, `config`, `code`
    and `plugins`; no field was ever removed."""

    schema_version: int = Field(default=4, description="version of this schema; records of newer schemas are refused")
    label: str = Field(description="name of the row in tables, e.g. 'distilled (seed 1)'")
    testbed: str = Field(description="name of the testbed: 'mini', 'sd21', ...")
    pruning: str = Field(description="how the base U-Net was pruned, e.g. 'magnitude'")
    macs: float = Field(gt=0, le=1, description="share of the base U-Net's MACs that pruning keeps, 0 to 1")
    method: str = Field(description="name or file of the method; 'base' for the unpruned model")
    preset: str = Field(default="default", description="the method's preset")
    variant: str = Field(default="default", description="changed settings, e.g. 'attn2'; 'default' for none")
    solver: str | None = Field(default=None, description="the bilevel solver, if the method has one")
    concept: dict[str, JsonValue] = Field(description="the erased concept: kind, targets, anchor, neighbours")
    data: str = Field(description="D_f, the plain captioned images of the training")
    budget: dict[str, JsonValue] = Field(description="largest cost of the training, e.g. {'flops': 1e15}")
    suite: str = Field(description="the suite of prompts: 'artists', 'coco', ...")
    seed: int = Field(ge=0, lt=2**63, description="seed of the training")
    recipe: int = Field(ge=0, description="version of the method's training procedure")
    sampler: dict[str, JsonValue] = Field(
        description="scheduler, steps, guidance, size, and precision if not fp32: the same for all images of a suite"
    )
    reference: str = Field(description="the model that scores are relative to: 'distilled' or 'base'")
    reference_key: str = Field(default="", description="store key of the reference model")
    model_key: str = Field(default="", description="store key of the model: hash of settings, code, weights and seed")
    setting_key: str = Field(default="", description="store key that the model would have with training seed 0")
    world: dict[str, JsonValue] = Field(default={}, description="fingerprint of the testbed's weights and data")
    counted: dict[str, JsonValue] = Field(default={}, description="MACs that pruning kept, and how they were counted")
    cells: dict[str, Cell] = Field(description="column -> value, e.g. 'clip', 'fid[mini]'")
    ledger: list[dict[str, JsonValue]] = Field(description="cost of each phase of the training")
    curve: list[dict[str, JsonValue]] = Field(default=[], description="mean losses over iterations and FLOPs, by phase")
    made: dict[str, JsonValue] = Field(description="provenance: versions, commit, python, platform, time")
    command: list[str] = Field(
        default=[], description="command line that made it, without --runs; ~ stands for the user's home"
    )
    config: dict[str, JsonValue] = Field(
        default={}, description="all settings: 'run' of the run, 'model' of the model's training"
    )
    code: str = Field(default="", description="SHA-256 of this package's .py files when the run started")
    plugins: list[Plugin] = Field(default=[], description="plug-ins that it was made with, from files or packages")
    images: str | None = Field(default=None, description="folder of the images, relative to the runs folder")
    scores: Scores | None = Field(default=None, description="file of the per-image values; set by write_record")

    _folder: Path | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _check_numbers(self) -> Record:
        """Check fields that tables and figures compute with, because records can be edited by hand."""
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
        """The folder that the record was read from or written to; None for a record that was never written."""
        return self._folder

    @property
    def own_sampler(self) -> bool:
        """Whether its pictures were not sampled by this package. Its noise, sampler and MACs are then unknown, and the
        value of `macs` (1) has no meaning."""
        return self.sampler.get(OWN_SAMPLER) is True

    @property
    def stem(self) -> str:
        """The file name without suffix. It is the same for the same run, so that scoring again replaces the record.

        User files can change while their names stay the same. For them, the stem also depends on the model's key.
        """
        uses_user_files = self.pruning == BROUGHT or any(map(is_file, (self.method, self.pruning, self.variant)))
        return self._stem(self.model_key if uses_user_files else "")

    @property
    def settings_stem(self) -> str:
        """The stem that depends on the settings only, which all records had before schema 3."""
        return self._stem("")

    def _stem(self, model_key: str) -> str:
        left_out = {"cells", "ledger", "curve", "images", "scores", "label", "schema_version", "counted", *PROVENANCE}
        text = manifest.canonical(self.model_dump(mode="json", exclude={*left_out, "model_key", "setting_key"}))
        words = re.sub(r"[^A-Za-z0-9.]+", "-", f"{self.testbed}-{self.method}-{self.suite}-seed{self.seed}").strip("-")
        return f"{words[-LONGEST_STEM:]}-{hashlib.sha256((text + model_key).encode()).hexdigest()[:8]}"

    @property
    def model_id(self) -> str:
        """The first eight digits of the model's store key; empty if an old record does not contain it.

        Records before schema 3 have no such field: it is then read from the name of the images' folder.
        """
        match = re.fullmatch(r"images/.*-([0-9a-f]{8})/[^/]+", self.images or "", re.DOTALL)
        return self.model_key[:8] or (match[1] if match else "")

    @property
    def setting_id(self) -> str:
        """The first eight digits of `setting_key`, which is equal for all training seeds; empty if it is unknown."""
        return self.setting_key[:8] or (self.model_id if self.seed == 0 else "")


def scores_table(
    ids: Sequence[str],
    parts: Sequence[str],
    targets: Sequence[str],
    seeds: Sequence[int],
    values: Mapping[str, Sequence[float | None]],
    *,
    texts: Sequence[str] | None = None,
    names: Mapping[str, Sequence[str | None]] | None = None,
) -> pyarrow.Table:
    """Return the table of per-image values: one row per image.

    The columns are id, part, target, text, seed, `names`, and one float64 column per metric, with null for missing
    values.

    Args:
        ids: ids of the prompts.
        parts: the group of each prompt, such as "targets" or "kept".
        targets: the name that each prompt is about, such as an artist; empty for none.
        seeds: seeds of the pictures.
        values: scores by column.
        texts: texts of the prompts; None for suites of explicit content, whose texts are never stored with scores.
        names: columns of names by column, such as the artist whose style a picture shows; null for missing names.
    """
    import pyarrow as pa

    columns = {"id": pa.array(ids, pa.string()), "part": pa.array(parts, pa.string())}
    columns |= {"target": pa.array(targets, pa.string())}
    columns |= {} if texts is None else {"text": pa.array(texts, pa.string())}
    columns |= {"seed": pa.array(seeds, pa.int64())}
    columns |= {name: pa.array(column, pa.string()) for name, column in (names or {}).items()}
    columns |= {name: pa.array(column, pa.float64()) for name, column in values.items()}
    marked = [pa.field(k, v.type, metadata=NAMES if k in (names or {}) else None) for k, v in columns.items()]
    return pa.table(columns, pa.schema(marked))


def write_record(folder: Path, record: Record, scores: pyarrow.Table) -> Record:
    """Write `record` and its `scores` (see `scores_table`) durably into `folder`, replacing the record of the same run.

    Returns:
        The record with `scores` and `folder` set.

    Raises:
        StoreError: a file cannot be written.
        ValueError: `scores` does not have the columns of `scores_table`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_columns(scores)
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
    _remove_old_name(folder, written)
    return written


def _remove_old_name(folder: Path, written: Record) -> None:
    """Remove the record of the same run under its name from before schema 3, if that differs from its present name."""
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
    """Return all records under `folders`, sorted by name within each folder.

    Hidden files are skipped, and a folder that does not exist counts as empty.

    Raises:
        RecordError: a record is damaged or has a newer schema; the message names the file.
        DataError: a path has the name of a record but is not a regular file, or a folder cannot be listed.
    """
    records = []
    for path in (path for folder in folders for path in visible(Path(folder), "**/*" + SUFFIX)):
        try:
            records.append(read_record(path))
        except FileNotFoundError as error:
            if path.is_symlink():
                raise RecordError(f"The record {path} is a link to a missing file: move it away.") from error
            # Otherwise another process has removed it since the folder was listed.
    return records


def refuse_newer(folder: Path) -> None:
    """Raise RecordError if a record in `folder` has a newer schema, because a run could overwrite it."""
    for path in visible(folder, "*" + SUFFIX):
        with suppress(OSError, ValueError, RecursionError):
            _check_version(json.loads(path.read_bytes()), path)


def read_scores(record: Record) -> pyarrow.Table:
    """Return the per-image values of a record that was read or written, in the columns of `scores_table`.

    Raises:
        RecordError: the file of the scores cannot be read or does not match its checksum.
        DataError: it is not a regular file.
        ValueError: the record was never written.
    """
    if record.folder is None or record.scores is None:
        raise ValueError("this record has no scores because it was never written: write it with write_record first")
    path = record.folder / record.scores.file
    remedy = "run `bench run` again with the same options to compute them again"
    refuse_unreadable(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecordError(f"The scores {path} cannot be read ({error.strerror}): {remedy}.") from error
    if hashlib.sha256(data).hexdigest() != record.scores.sha256:
        raise RecordError(f"The scores {path} do not match the checksum in their record: {remedy}.")
    try:
        return read_parquet(data)
    except (ValueError, OSError, RuntimeError) as error:
        raise RecordError(f"The scores {path} cannot be read ({type(error).__name__}): {remedy}.") from error


def check_one_sampler(records: Iterable[Record]) -> None:
    """Raise RecordError if two records of one testbed and suite were sampled differently.

    Only records that were made with equal weights and data of the testbed are compared. Tables mark rows that differ.
    Records of pictures with an own sampler are compared only with each other.
    """
    first_records: dict[tuple[str, str, str, bool], Record] = {}
    for record in records:
        world = manifest.canonical(dict(record.world))
        first_record = first_records.setdefault((record.testbed, record.suite, world, record.own_sampler), record)
        keys = {*first_record.sampler, *record.sampler}.difference(MARKED)
        if differing := sorted(key for key in keys if first_record.sampler.get(key) != record.sampler.get(key)):
            raise RecordError(
                f"The records {first_record.stem} and {record.stem} of suite {record.suite!r} were sampled with "
                f"different {', '.join(differing)}: move one of them away, or run it again with the sampler of the "
                "other one."
            )


def read_record(path: Path) -> Record:
    """Read one record. Raises FileNotFoundError, and RecordError if it is damaged, unreadable or of a newer schema."""
    remedy = "move it away and run `bench run` again"
    try:
        if path.stat().st_size > LARGEST:
            raise RecordError(f"The record {path} has more than {LARGEST:,} bytes: move it away.")
        data = path.read_bytes()
        raw: Any = json.loads(data)
    except FileNotFoundError:
        raise
    except IsADirectoryError as error:
        raise RecordError(f"The record {path} is a folder: move it away.") from error
    except OSError as error:
        raise RecordError(f"The record {path} cannot be read ({error.strerror}): make it readable.") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"The record {path} is damaged (it is not JSON): {remedy}.") from error
    _check_version(raw, path)
    if may_have_controls(data) and (field := find_controls(raw)) is not None:
        raise RecordError(f"The record {path} is damaged ({field} contains control characters): {remedy}.")
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
