"""`bench study`: the runs that it plans, the records that it reads, and the figure that it draws."""

import csv
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from record_examples import record, write
from typer.testing import CliRunner

from benchmark.api.request import parse_budgets
from benchmark.cli.app import app
from benchmark.errors import DataError
from benchmark.experiments import campaign
from benchmark.experiments.studies import AFTER, SEARCHED, STUDIES, plan, points
from benchmark.experiments.study_table import markdown
from benchmark.records.record import Record
from benchmark.stats import pooled_intervals, student_interval
from benchmark.tables.table1_styles import table
from methods.costs import lower, pruning_flops
from methods.distilled import DistilledConfig


def told(name: str, tmp_path: Path, seeds: int = 2) -> list[list[str]]:
    path = tmp_path / "plan.txt"
    path.write_text(plan(STUDIES[name], seeds))
    return campaign.read_plan(path)


def models(name: str, fid: float = 5.0, **more) -> list[Record]:
    """What one run of a study leaves: a record of each suite."""
    values = {"artists": {"kept_style": 0.8, "content_kept": 0.7}, "coco": {"fid": fid, "kid": 0.4, "clip": 80.0}}
    budget = {"iterations": more.pop("iterations", 20), "default": False}
    suites = ("artists", "coco") if name in ("pruning", "search") else ("coco",)
    return [record("distilled", suite, values=values, budget=budget, **more) for suite in suites]


def test_study_plans_the_runs_that_its_figure_shows(tmp_path: Path) -> None:
    assert len(told("distillation", tmp_path)) == 4 * 2 * 2
    assert len(told("init", tmp_path)) == 2 * 2
    assert len(told("pruning", tmp_path, seeds=3)) == 5 * 3
    searched = {words[words.index("--pruning") + 1]: words for words in told("search", tmp_path, seeds=1)}
    budgets = {name: words[words.index("--budget") + 1] for name, words in searched.items()}
    assert budgets == {"aptp": "360it", "taylor": "360it,814it"}
    for words in told("distillation", tmp_path):
        assert words[:4] == ["--method", "distilled", "--suite", "coco"]
        assert parse_budgets(words[words.index("--budget") + 1]) == [f"{count}it" for count in reversed(AFTER)]
    settings = {tuple(words[words.index("--set") :]) for words in told("distillation", tmp_path) if "--set" in words}
    assert ("--set", "feature=0.0", "--set", "output=0.0") in settings
    assert len(settings) == 3


def test_further_iterations_equal_the_flops_of_the_search() -> None:
    """A step of Eq. 8 in passes of the base: one of the teacher, three of a student with 55 % of its MACs."""
    step = lower(DistilledConfig().batch, 1000, 550).flops
    assert SEARCHED - AFTER[-1] == pytest.approx(pruning_flops("aptp", 1000) / step, rel=5e-3)


def test_each_record_goes_to_its_own_line() -> None:
    found = [
        *models("distillation", variant="feature=0.0,output=0.0"),
        *models("distillation", variant="output=0.0", macs=0.55),
        *models("distillation", iterations=60),
        *models("distillation", seed=5),
        *models("distillation", variant="lower_rate=0.001"),
        *models("distillation", iterations=77),
        *models("distillation", pruning="random"),
        record("bilevel", "coco", budget={"iterations": 20, "default": False}),
    ]
    shown = table([(each, "local") for each in found], "mini", "coco", long=True, everything=True)
    lying = [(p.line, p.macs, p.iterations, p.seed) for p in points(STUDIES["distillation"], shown.rows, 2)]
    assert lying == [
        ("+ feature distillation", 0.55, 20, 0),
        ("all (Eq. 8)", 0.8, 60, 0),
        ("diffusion loss", 0.8, 20, 0),
    ]


def test_records_of_other_runs_are_left_out() -> None:
    """Of the same training: scored for other targets, by an older recipe, in another precision."""
    artists, coco = models("pruning", pruning="magnitude", macs=0.55, iterations=360)
    other = {"kind": "style", "targets": ["Edvard Munch"], "anchor": "a painting", "neighbours": []}
    found = [
        record("distilled", "artists", values={"kept_style": 0.1}, **_told(artists), concept=other),
        artists,
        coco,
        record("distilled", "coco", values={"fid": 2.0}, **_told(coco) | {"recipe": 0}),
    ]
    for each in (found, found[::-1]):
        shown = table([(one, "local") for one in each], "mini", "artists", long=True, everything=True)
        (point,) = points(STUDIES["pruning"], shown.rows, 1)
        assert (point.values["kept_style"], point.values["fid"]) == (0.8, 5.0)
    rough = coco.model_copy(update={"sampler": {**coco.sampler, "precision": "bf16"}})
    rows = table([(rough, "local")], "mini", "coco", long=True, everything=True).rows
    with pytest.raises(DataError, match="None of the study's runs"):
        points(STUDIES["init"], rows, 1)


def _told(one: Record) -> dict[str, Any]:
    return {key: getattr(one, key) for key in ("pruning", "macs", "budget", "seed", "recipe", "sampler")}


def test_two_prunings_have_lines_of_their_own() -> None:
    found = [
        *models("distillation", pruning="magnitude", fid=4.0),
        *models("distillation", pruning="random", fid=8.0),
        *models("distillation", pruning="random", fid=9.0, variant="output=0.0"),
    ]
    shown = table([(each, "local") for each in found], "mini", "coco", long=True, everything=True).rows
    study = STUDIES["distillation"]
    both = points(study, shown, 1, ("magnitude", "random"))
    assert {point.line: point.values["fid"] for point in both} == {
        "magnitude: all (Eq. 8)": 4.0,
        "random: all (Eq. 8)": 8.0,
        "random: + feature distillation": 9.0,
    }
    assert "| 80% | random: all (Eq. 8) | 8.00 (1 seed) |" in markdown(study, both)
    assert [point.line for point in points(study, shown, 1, ("random",))] == ["+ feature distillation", "all (Eq. 8)"]


@pytest.mark.parametrize("name", list(STUDIES))
def test_study_draws_its_figure_and_writes_its_numbers(name: str, tmp_path: Path) -> None:
    study = STUDIES[name]
    after = study.after
    for _, macs in dict.fromkeys((0, macs) for _, macs in study.panels):
        for pruning in study.prunings:
            for seed in (0, 1):
                for k, iterations in enumerate(after):
                    told = {"pruning": pruning, "macs": macs, "iterations": iterations, "seed": seed}
                    write(tmp_path / "records", *models(name, fid=9.0 - k + seed, **told))
    done = CliRunner().invoke(app, ["study", name, "--only-figure", "--runs", str(tmp_path)])
    assert done.exit_code == 0, done.output
    picture, numbers = map(Path, done.stdout.split())
    with Image.open(picture) as image:
        assert image.size[0] > 600
    rows = list(csv.DictReader(numbers.read_text("utf-8").splitlines()))
    assert len(rows) == 2 * len(after) * len(study.prunings) * len({macs for _, macs in study.panels})
    assert {(float(row["fid"]), row["seed"]) for row in rows if row["iterations"] == str(after[0])} == {
        (9.0, "0"),
        (10.0, "1"),
    }
    assert (tmp_path / "studies" / f"{name}.txt").exists()
    done = CliRunner().invoke(app, ["study", name, "--format", "markdown", "--records", str(tmp_path / "records")])
    assert done.exit_code == 0, done.output
    lines = len(study.prunings)
    student = {1: 12.7062, 2: 4.3027, 5: 2.5706}[lines]  # a degree a line
    share = math.exp(student * math.log(10 / 9) / 2)
    low, high = math.sqrt(90) / share, math.sqrt(90) * share
    assert done.stdout.count(f"| 9.50 {low:.2f}…{high:.2f} |") == lines * len({macs for _, macs in study.panels})
    assert f"{9.5 - (len(after) - 1):.2f} " in done.stdout


def test_choices_share_a_pooled_spread_for_their_intervals() -> None:
    alone = pooled_intervals([[3.0, 5.0, 4.0]])
    assert alone == [pytest.approx(student_interval([3.0, 5.0, 4.0]))]
    shared = pooled_intervals([[1.0, 3.0], [4.0, 6.0], [2.0]])  # s^2 = (2 + 2) / 2, t of two degrees 4.3027
    half = 4.3027 * math.sqrt(2)
    assert shared is not None
    for (low, high), mean, n in zip(shared, (2, 5, 2), (2, 2, 1), strict=True):
        assert (low, high) == pytest.approx((mean - half / math.sqrt(n), mean + half / math.sqrt(n)), rel=1e-4)
    assert pooled_intervals([[1.0], [2.0]]) is None


def test_study_without_records_or_with_a_wrong_name_gives_one_sentence(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(campaign, "conduct", lambda *given: pytest.fail("runs are begun"))
    (tmp_path / "file").touch()
    asked = [["init", "--prunings", each] for each in ("magnitud", "none,random", " , ")]
    for words in (["depth"], ["init", "--only-figure"], ["init", "--out", str(tmp_path / "file")], *asked):
        done = CliRunner().invoke(app, ["study", *words, "--runs", str(tmp_path)])
        assert done.exit_code == 2
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1


def test_failed_run_sets_the_exit_code_and_the_figure_is_still_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def conduct(told: list[list[str]], runs: Path, lanes: int) -> list[list[str]]:
        asked.append((len(told), runs, lanes))
        return told[:1]

    monkeypatch.setattr(campaign, "conduct", conduct)
    write(tmp_path / "records", *models("init", macs=0.55))
    done = CliRunner().invoke(app, ["study", "init", "--seeds", "1", "--lanes", "2", "--runs", str(tmp_path)])
    assert done.exit_code == 1
    assert asked == [(2, tmp_path, 2)]
    assert "init.png" in done.stdout
