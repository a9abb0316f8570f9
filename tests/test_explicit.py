"""Explicit suites score and count every picture, and take any threshold on the stored detections."""

import csv
import random

import numpy as np
import pytest
import scipy.stats
import torch
from PIL import Image
from record_examples import record, write
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.errors import DataError, UsageError
from benchmark.figures.explicit import write as write_figure7
from benchmark.records.record import scores_table, write_record
from benchmark.stats import reduction_interval
from benchmark.suites.explicit import explicit, score_columns
from benchmark.tables.over_seeds import over_seeds
from benchmark.tables.select import gather
from benchmark.tables.table1_styles import table
from benchmark.tables.table2_3_explicit import table2, table3
from benchmark.testbeds.mini import prompts, scoring_networks, tokens
from benchmark.testbeds.mini.explicit import CONCEPT, asked_by_suites, contrast, erasing, i2p, naming
from benchmark.testbeds.mini.testbed import WEIGHTS, Mini
from benchmark.testbeds.mini.world.draw import draw
from benchmark.testbeds.mini.world.scenes import EMBLEMS, Scene, plain_scene
from metrics.detectors.base import Detection
from metrics.detectors.rows import MOST, DetectionRows, detections


class Seen:
    """A detector that says what it is told."""

    name, labels, sensitive, threshold = "told", ("a", "b"), ("a",), 0.5

    def __init__(self, found):
        self.found = found

    def __call__(self, images):
        return self.found


def test_stored_detections_are_unchanged_up_to_a_maximum_number() -> None:
    found = [[Detection("b", 0.75, (1.0, 2.0, 3.5, 4.0)), Detection("a", 0.25, (0.0, 0.0, 64.0, 64.0))], []]
    rows = DetectionRows(Seen(found))(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    assert detections(rows, Seen.labels) == found
    crowd = [[Detection("a", 1 - k / 100, (0.0, 0.0, 1.0, 1.0)) for k in range(MOST + 5)]]
    (kept,) = detections(DetectionRows(Seen(crowd))(torch.zeros(1, 3, 8, 8, dtype=torch.uint8)), Seen.labels)
    assert [round(each.score, 2) for each in kept] == [round(1 - k / 100, 2) for k in range(MOST)]


def test_score_columns_hold_every_detection_by_label_and_rank() -> None:
    found = [[Detection("a", 0.4, (0,) * 4), Detection("a", 0.9, (0,) * 4)], [], [Detection("b", 0.6, (0,) * 4)]]
    columns = score_columns(found, ("a", "b", "c"))
    assert columns == {"score/a/0": [0.9, None, None], "score/a/1": [0.4, None, None], "score/b/0": [None, None, 0.6]}
    assert explicit(found, ("a", "b"), 0.5) == [1, 0, 1]
    assert explicit(found, ("a",), 0.95) == [0, 0, 0]


def put(folder, method, suite, scores, seed=0, key="r"):
    told = {"explicit": 100.0 * np.mean([s > 0.5 for s in scores])}
    concept = {"kind": "explicit", "targets": list(EMBLEMS), "anchor": "a photo", "neighbours": []}
    each = record(method, suite, seed=seed, values=told, concept=concept, reference_key=key)
    n = len(scores)
    table = scores_table(
        [f"p{k}" for k in range(n)], ["x"] * n, [""] * n, [0] * n, {"score/trine/0": [s or None for s in scores]}
    )
    write_record(folder, each, table)


def test_resilience_is_relative_to_the_distilled_model_at_any_threshold(tmp_path) -> None:
    """Against counts by hand; n is what was asked, whatever was found."""
    put(tmp_path, "distilled", "mma", [0.9, 0.8, 0.7, 0.55, 0.0])
    put(tmp_path, "esd", "mma", [0.6, 0.0, 0.0, 0.0, 0.95])
    put(tmp_path, "base", "mma", [0.9] * 5)
    found = gather("mini", tmp_path, [tmp_path])
    rows = {row.label: row.cells for row in table2(found, "mini", paper=True).rows}
    figure = rows["esd"]["mma_resilience"]
    assert (figure.value, figure.n, figure.name, figure.paper) == (pytest.approx(50), 5, "2 of 4", 93.7)
    assert rows["base"]["mma_explicit"].value == 100
    assert "mma_resilience" not in rows["distilled"]
    strict = table2(found, "mini", threshold=0.65, paper=False).rows
    assert next(r for r in strict if r.label == "esd").cells["mma_resilience"].name == "1 of 3"
    result = CliRunner().invoke(app, ["table", "2", "--records", str(tmp_path), "--threshold", "0.65"])
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(app, ["table", "2", "--records", str(tmp_path), "--label", "trine"])
    assert result.exit_code == 0, result.output
    with pytest.raises(DataError, match=r"'trine-like': use one of the detected labels \(trine\)"):
        table2(found, "mini", labels=["trine-like"], paper=False)
    with pytest.raises(DataError, match="no records of coco"):
        table3(found, "mini", paper=False)


def test_figure_7_draws_the_decrease_of_each_label_and_needs_the_base(tmp_path) -> None:
    put(tmp_path / "records", "base", "i2p", [0.9, 0.8, 0.7, 0.6])
    put(tmp_path / "records", "esd", "i2p", [0.9, 0.0, 0.0, 0.3])
    out = tmp_path / "seven.png"
    told = ["figure", "7", "--records", str(tmp_path / "records"), "--out", str(out)]
    result = CliRunner().invoke(app, told)
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(out.with_suffix(".csv").read_text("utf-8").splitlines()))
    assert [(r["method"], r["label"], r["decrease %"], r["images"], r["n"]) for r in rows] == [
        ("esd", "any", "75.00", "1", "4"), ("esd", "trine", "75.00", "1", "4"),
    ]  # fmt: skip
    with Image.open(out) as picture:
        assert picture.width > 1000
    (tmp_path / "records" / next(p.name for p in (tmp_path / "records").glob("*base*.json"))).unlink()
    assert "no record of the base" in CliRunner().invoke(app, told).output


def test_figure_7_averages_seeds_and_gives_their_interval(tmp_path) -> None:
    put(tmp_path, "base", "i2p", [0.9, 0.8, 0.7, 0.6])
    for seed, scores in enumerate(([0.9, 0.0, 0.0, 0.0], [0.9, 0.9, 0.0, 0.0], [0.9, 0.0, 0.0, 0.0])):
        put(tmp_path, "esd", "i2p", scores, seed=seed)
    put(tmp_path, "uce", "i2p", [0.0] * 4)
    out = tmp_path / "seven.csv"
    write_figure7(gather("mini", tmp_path, [tmp_path]), "mini", "i2p", out.with_suffix(".png"))
    rows = [r for r in csv.DictReader(out.read_text("utf-8").splitlines()) if r["label"] == "any"]
    told = [(r["method"], r["seeds"], float(r["decrease %"]), float(r["images"])) for r in rows]
    assert told == [
        ("esd", "3", pytest.approx(200 / 3, abs=0.01), pytest.approx(4 / 3, abs=1e-4)),
        ("uce", "1", 100, 0),
    ]
    values = np.array([75, 50, 75])
    half = scipy.stats.t.ppf(0.975, 2) * values.std(ddof=1) / 3**0.5
    assert float(rows[0]["high"]) - float(rows[0]["low"]) == pytest.approx(2 * half, abs=0.02)


def test_table_2_averages_over_seeds(tmp_path) -> None:
    put(tmp_path, "distilled", "mma", [0.9, 0.8, 0.7, 0.55])
    for seed, scores in enumerate(([0.9, 0.0, 0.0, 0.0], [0.9, 0.9, 0.0, 0.0])):
        put(tmp_path, "esd", "mma", scores, seed=seed)
    made = table2(gather("mini", tmp_path, [tmp_path]), "mini", paper=False)
    rows = {row.label: row.cells for row in over_seeds(made).rows}
    assert set(rows) == {"distilled", "esd (2 seeds)"}
    figure = rows["esd (2 seeds)"]["mma_resilience"]
    assert (figure.value, figure.n) == (62.5, 8)


def test_table_and_comparison_of_an_explicit_suite_show_its_records_alone(tmp_path) -> None:
    put(tmp_path, "distilled", "mma", [0.9, 0.8, 0.7, 0.55])
    put(tmp_path, "esd", "mma", [0.9, 0.0, 0.0, 0.0])
    put(tmp_path, "uce", "i2p", [0.9, 0.0, 0.0, 0.0])
    write(tmp_path, record("bilevel", "artists"), record("bilevel", "coco"), record("distilled", "coco"))
    made = table(gather("mini", tmp_path, [tmp_path]), "mini", "mma")
    assert [(row.record.method, row.cells["explicit"].value) for row in made.rows] == [
        ("distilled", 100.0),
        ("esd", 25.0),
    ]
    with pytest.raises(DataError, match="no records of suite 'ring-a-bell'"):
        table(gather("mini", tmp_path, [tmp_path]), "mini", "ring-a-bell")
    result = CliRunner().invoke(app, ["compare", "esd", "distilled", "--suite", "mma", "--records", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "explicit %" in result.output


def test_interval_of_a_reduction_contains_its_value() -> None:
    rng = np.random.default_rng(4)
    right = (rng.random(200) < 0.6).astype(float)
    left = right * (rng.random(200) < 0.3)
    low, high = reduction_interval(left, right)
    assert low < 100 * (1 - left.sum() / right.sum()) < high
    assert 5 < high - low < 30
    assert reduction_interval(left, 0 * right) is None


def test_training_prompts_share_none_with_the_explicit_suites() -> None:
    asked = asked_by_suites(CONCEPT)
    told = {*erasing(CONCEPT), *naming(CONCEPT)}
    told |= {text for pairs in contrast(CONCEPT).values() for pair in pairs for text in pair}
    assert not told & asked
    assert len(erasing(CONCEPT)) == len(naming(CONCEPT)) == 3 * prompts.ERASE_PER_TARGET
    for prompt in i2p():
        assert not any(sign in prompt.text for sign in EMBLEMS)
        assert any(word in prompt.text for word in tokens.SENSITIVE)


def test_explicit_concept_refuses_artists_as_targets() -> None:
    with pytest.raises(UsageError, match="names artists, but the concept of explicit suites is fixed: leave it out"):
        Mini().concept(("Claude Monet",), "explicit")


def test_detector_finds_emblems_with_few_misses_and_false_positives() -> None:
    """On 600 real pictures: recall at least 0.98, false positives at most 0.005, boxes on the sign."""
    rng = random.Random(12)
    scenes = [plain_scene(rng) for _ in range(600)]
    scenes = [Scene(s.content, s.colour, s.second_content, s.relation, s.setting, emblem=k % 6 - 3 if k % 6 > 2 else -1)
              for k, s in enumerate(scenes)]  # fmt: skip
    pictures = draw(scenes, torch.Generator().manual_seed(12))
    reader = scoring_networks.detector(WEIGHTS)
    found = detections(reader(pictures.images), reader.detector.labels)
    flags = explicit(found, EMBLEMS, 0.5)
    truth = [scene.emblem >= 0 for scene in scenes]
    assert sum(f for f, there in zip(flags, truth, strict=True) if there) / sum(truth) >= 0.98
    assert sum(f for f, there in zip(flags, truth, strict=True) if not there) / 300 <= 0.005
    for each, scene, box in zip(found, scenes, pictures.boxes, strict=True):
        if scene.emblem >= 0 and each:
            assert each[0].label == EMBLEMS[scene.emblem]
            assert torch.allclose(torch.tensor(each[0].box), box.float(), atol=6)


def test_attack_on_another_testbed_is_refused() -> None:
    result = CliRunner().invoke(app, ["attack", "mma", "--testbed", "sd21"])
    assert result.exit_code == 2
    assert "bench prompts add" in result.output
