"""`--kept-names`: which names of kept artists a method reads, and how named and unnamed artists score."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from record_examples import record
from standin import whole
from typer.testing import CliRunner

from benchmark.api.request import RunRequest
from benchmark.cli.app import app
from benchmark.errors import DataError, UsageError
from benchmark.records.record import Record, read_records, scores_table, write_record
from benchmark.tables.compare import compare
from benchmark.tables.picture_scores import derived, kept_names_of
from benchmark.tables.select import gather
from benchmark.tables.table1_styles import table
from benchmark.testbeds.mini.artists import ARTISTS, STYLES
from benchmark.testbeds.stable_diffusion.artists import ARTISTS as PAINTERS
from methods.kept_names import HALVES, KEPT_NAMES, given_names
from prompts.concepts import words
from prompts.decoys import DECOYS

NAMES = [artist.name for artist in ARTISTS]
TARGETS = ("Vincent van Gogh", "Claude Monet", "Pablo Picasso")
COMMITTED = Path(__file__).parents[1] / "results/mini/records"

SPY = """
import json
from pathlib import Path
from benchmark.api import Method

class Spy(Method):
    name, summary, start = "spy", "writes down all names that it is given", "distilled"
    own_share = 0.0
    uses_concept_images = False
    reads_kept_names = {reads}

    def fit(self, student, materials, concept, budget, context, seed):
        captions = {{name: [text for pair in pairs for text in pair] for name, pairs in materials.in_context.items()}}
        contrast = [text for pairs in materials.contrast.values() for pair in pairs for text in pair]
        given = dict(preserve=list(materials.preserve), captions=captions, contrast=contrast,
                     concept=[list(concept.targets), list(concept.neighbours), concept.anchor])
        Path({out!r}).write_text(json.dumps(given))
        return student.eval()
"""


def half(number: int, names: list[str]) -> list[str]:
    """Names in NFC by sha256 of "h:name", the first half of them."""
    by_digest = sorted((hashlib.sha256(f"{number}:{name}".encode()).hexdigest(), name) for name in names)
    return [name for _, name in by_digest[: -(-len(names) // 2)]]


def test_each_half_is_the_first_half_of_the_names_by_checksum() -> None:
    for number, choice in enumerate(HALVES):
        assert set(given_names(NAMES, choice)) == set(half(number, NAMES))
        assert len(given_names(NAMES[:13], choice)) == 7
    assert given_names(NAMES, "all") == NAMES
    assert given_names(NAMES, "none") == []
    decomposed = [unicodedata.normalize("NFD", name) for name in NAMES]
    composed = [unicodedata.normalize("NFC", name) for name in given_names(decomposed, "half:1")]
    assert composed == given_names(NAMES, "half:1")


@pytest.mark.usefixtures("standin")
@pytest.mark.parametrize("choice", KEPT_NAMES)
def test_method_is_given_only_the_chosen_names(choice: str, tmp_path: Path) -> None:
    kept = [name for name in NAMES if name not in TARGETS]
    out, file = tmp_path / "given.json", tmp_path / "spy.py"
    file.write_text(SPY.format(out=str(out), reads=True))
    outcome = whole(tmp_path / "runs", method=f"{file}:Spy", overrides={}, kept_names=choice, alone=True, budget="4it")
    given = json.loads(out.read_text())
    expected = {"all": kept, "none": []}.get(choice) or (half(int(choice[-1]), kept) if choice[:4] == "half" else [])
    assert set(given["preserve"]) == set(expected)
    text = json.dumps(given, ensure_ascii=False).casefold()
    for artist in ARTISTS:
        if artist.name not in (*TARGETS, *expected):
            assert artist.surname.casefold() not in text, artist.name
    row = outcome.records[-1]
    assert row.label.endswith(f"(kept_names={choice})") == (choice != "all")
    assert len(row.concept["neighbours"]) == 3  # type: ignore[arg-type]  # what suites ask for stays


@pytest.mark.usefixtures("standin")
def test_method_that_reads_no_names_is_one_model_for_every_choice(tmp_path: Path) -> None:
    out, file = tmp_path / "given.json", tmp_path / "spy.py"
    file.write_text(SPY.format(out=str(out), reads=False))
    keys = []
    for choice in ("all", "half:1"):
        asked: dict[str, Any] = {"method": f"{file}:Spy", "overrides": {}, "alone": True, "budget": "4it"}
        keys.append(whole(tmp_path / "runs", kept_names=choice, **asked).records[-1].model_key)
        given = json.loads(out.read_text())
        assert given["preserve"] == given["concept"][1] == []
        assert set(given["captions"]) == set(TARGETS)
    assert keys[0] == keys[1]


@pytest.mark.usefixtures("standin")
def test_each_choice_of_names_gives_another_model_key(tmp_path: Path) -> None:
    keys = set()
    for choice in ("all", "half:0", "none"):
        outcome = whole(tmp_path, method="uce", overrides={}, kept_names=choice, alone=True, budget="4it")
        keys.add(outcome.records[-1].model_key)
        assert kept_names_of(outcome.records[-1]) == choice
    assert len(keys) == 3


def test_wrong_choices_are_refused() -> None:
    with pytest.raises(UsageError, match=r"--kept-names must be all, half:0, .*'half:3' is not"):
        RunRequest("uce", "artists", kept_names="half:3")
    with pytest.raises(UsageError, match=r"--kept-names none needs --data plain"):
        RunRequest("uce", "artists", kept_names="none", data="all-but-targets")
    with pytest.raises(UsageError, match=r"--limit must be a number of prompts per group"):
        RunRequest("uce", "artists", limit=0)


@pytest.mark.usefixtures("standin")
def test_limited_runs_stand_in_tables_of_their_own(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"method": "uce", "overrides": {}, "alone": True, "budget": "4it", "reference": "base"}
    full = whole(tmp_path, **asked).records[-1]
    few = whole(tmp_path, limit=1, **asked).records[-1]
    assert few.model_key == full.model_key
    assert few.scores
    assert full.scores
    assert few.scores.rows < full.scores.rows
    assert few.label == "uce, limit 1"
    records = [tmp_path / "records"]
    assert {r.label for r, _ in gather("mini", tmp_path, records)} == {"base", "uce"}
    assert {r.label for r, _ in gather("mini", tmp_path, records, limit=1)} == {"base, limit 1", "uce, limit 1"}
    with pytest.raises(DataError, match=r"No record on testbed 'mini' is of a run with --limit 2"):
        gather("mini", tmp_path, records, limit=2)
    assert set(_ids(few)) < set(_ids(full))


def _ids(entry: Record) -> list[str]:
    from benchmark.records.record import read_scores

    return read_scores(entry)["id"].to_pylist()


def example(folder: Path, method: str, styles: dict[str, float], **more: Any) -> Record:
    """A record of one target, Monet, with two pictures by each kept artist and the given kept styles."""
    values = {f"destination/Claude Monet/{style}": 1.0 if style == "plain" else 0.0 for style in STYLES} | {
        "kept_style": sum(styles.values()) / len(styles)
    }
    made = record(method, values=values, **more)
    kept = [name for name in styles for _ in range(2)]
    ids = ["t0", "t1", *(f"k{number}" for number in range(len(kept)))]
    parts = ["targets"] * 2 + ["neighbours" if name == "Mary Cassatt" else "kept" for name in kept]
    right = [float(STYLES.index(name)) if styles[name] > 0.5 else 0.0 for name in kept]
    columns: dict[str, list[float | None]] = {
        "likeliest_style": [0.0, float(STYLES.index("Claude Monet")), *right],
        "kept_style": [None, None, *(styles[name] for name in kept)],
        "content_target": [1.0, 0.0, *[None] * len(kept)],
        "content_kept": [None, None, *[1.0] * len(kept)],
    }
    return write_record(folder, made, scores_table(ids, parts, ["Claude Monet"] * 2 + kept, [0] * len(ids), columns))


def test_kept_styles_are_split_by_the_names_that_were_given(tmp_path: Path) -> None:
    kept = [name for name in NAMES if name != "Claude Monet"]
    styles = {name: 0.9 if name in half(0, kept) else 0.2 for name in kept}
    trained = example(tmp_path, "uce", styles, variant="kept_names=half:0", label="uce (kept_names=half:0)")
    given, other = (derived(trained, cell) for cell in ("kept_style_given", "kept_style_not_given"))
    assert given
    assert other
    assert (given.value, given.n) == (pytest.approx(0.9), 16)
    assert (other.value, other.n) == (pytest.approx(0.2), 14)

    reads_none = example(tmp_path, "bilevel", styles)
    shares = []
    for number in range(3):
        names = half(number, kept)
        shares.append(sum(styles[name] for name in names) / len(names))
    mean = derived(reads_none, "kept_style_given")
    assert mean
    assert mean.value == pytest.approx(sum(shares) / 3)
    against = derived(reads_none, "kept_style_given", ["half:0"])
    assert against
    assert against.value == pytest.approx(0.9)

    everything = example(tmp_path, "uce", styles, label="uce")
    assert derived(everything, "kept_style_not_given") is None
    whole_mean = derived(everything, "kept_style_given")
    assert whole_mean
    assert whole_mean.value == pytest.approx(sum(styles.values()) / len(styles))


def test_accuracies_are_those_of_the_likeliest_style(tmp_path: Path) -> None:
    kept = [name for name in NAMES if name != "Claude Monet"]
    styles = {name: 0.9 if name in kept[:9] else 0.2 for name in kept}
    made = example(tmp_path, "bilevel", styles)
    figures = {}
    for cell in ("unlearning_accuracy", "in_domain_accuracy", "cross_domain_accuracy", "accuracy_mean"):
        figure = derived(made, cell)
        assert figure
        figures[cell] = figure.value
    assert figures["unlearning_accuracy"] == 50.0
    assert figures["in_domain_accuracy"] == pytest.approx(60.0)
    assert figures["cross_domain_accuracy"] == pytest.approx(100 * 31 / 32)
    assert figures["accuracy_mean"] == pytest.approx(3 / (1 / 50 + 1 / 60 + 32 / 3100))


def test_halves_are_averaged_within_a_unit(tmp_path: Path) -> None:
    kept = [name for name in NAMES if name != "Claude Monet"]
    entries: list[Any] = []
    for number in range(3):
        styles = {name: 0.9 - 0.1 * number if name in half(number, kept) else 0.3 for name in kept}
        variant = f"kept_names=half:{number}"
        entries.append(
            (example(tmp_path, "uce", styles, variant=variant, label=f"uce ({variant})", model_key=f"a{number}" * 10),
             "local")
        )  # fmt: skip
    entries.append((example(tmp_path, "bilevel", dict.fromkeys(kept, 0.5), model_key="b" * 20), "local"))
    result = compare(entries, "mini", "artists", "uce (kept_names=halves)", "bilevel", long=True)
    figures = {contrast.column.key: contrast for contrast in result.contrasts}
    assert figures["kept_style_given"].left == pytest.approx(0.8)
    assert figures["kept_style_given"].right == pytest.approx(0.5)
    assert figures["kept_style_not_given"].left == pytest.approx(0.3)
    assert figures["kept_style"].left == pytest.approx((0.8 * 8 + 0.3 * 7) / 15)
    assert figures["kept_style"].n == 30  # one unit: over prompts, each with the mean of its halves
    one = compare(entries, "mini", "artists", "uce (kept_names=half:2)", "bilevel", long=True)
    assert {c.column.key: c for c in one.contrasts}["kept_style_given"].left == pytest.approx(0.7)


def test_committed_records_have_accuracy_and_kept_style_columns() -> None:
    entries: list[Any] = [(entry, "reference") for entry in read_records([COMMITTED]) if entry.method != "base"]
    rows = {row.label: row.cells for row in table(entries, "mini", "artists", long=True).rows}
    assert {"ua", "ira", "cra", "accuracy_mean", "kept_style_given", "kept_style_not_given"} <= rows["bilevel"].keys()
    assert "kept_style_not_given" not in rows["uce"]
    assert rows["uce"]["kept_style_given"].value == pytest.approx(rows["uce"]["kept_style"].value, abs=0.03)


def test_decoys_share_no_word_with_an_artist() -> None:
    taken = {
        word for artist in ARTISTS for text in (artist.name, artist.surname, artist.misspelt) for word in words(text)
    }
    taken |= {word for painter in PAINTERS for word in words(painter.name)}
    decoy_words = [word for decoy in DECOYS for word in words(decoy)]
    assert len(DECOYS) == 64
    assert len(set(decoy_words)) == len(decoy_words)
    assert not taken & set(decoy_words)


@pytest.mark.usefixtures("standin")
def test_method_is_given_all_names_by_default(tmp_path: Path) -> None:
    out, file = tmp_path / "given.json", tmp_path / "spy.py"
    file.write_text(SPY.format(out=str(out), reads=True))
    words = ["run", "--method", f"{file}:Spy", "--suite", "artists", "--alone", "--budget", "4it", "--device", "cpu"]
    result = CliRunner().invoke(app, [*words, "--runs", str(tmp_path / "runs")])
    assert result.exit_code == 0, result.output
    assert set(json.loads(out.read_text())["preserve"]) == {name for name in NAMES if name not in TARGETS}
