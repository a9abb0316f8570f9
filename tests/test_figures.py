"""`bench figure`: points lie on the right lines, nothing is extrapolated, and pictures are written."""

import csv
import re

import pytest
from PIL import Image
from record_examples import SAMPLER, record, write
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.errors import DataError
from benchmark.figures import losses, tradeoff
from benchmark.tables.table1_styles import table


def shown(*records):
    return table([(each, "local") for each in records], "mini", "artists", long=True)


def row(method, variant="default", seed=0, style=0.5, kept=0.8, fid=5.0, **more):
    values = {"artists": {"target_style": style, "kept_style": kept}, "coco": {"fid": fid}}
    label = method if variant == "default" else f"{method} ({variant})"
    told = {"values": values, "variant": variant, "seed": seed, "label": f"{label} {seed}", **more}
    return [record(method, suite, **told) for suite in ("artists", "coco")]


def test_points_are_grouped_by_setting_and_strength_and_averaged_over_seeds() -> None:
    found = tradeoff.points(
        shown(
            *row("esd", style=0.3, kept=0.9, fid=6.0),
            *row("esd", seed=1, style=0.1, kept=0.7, fid=8.0),
            *row("esd", "rate=0.0003", style=0.0, kept=0.5),
            *row("esd", "eta=2.0,rate=0.0003", style=0.4, kept=0.6),
            *row("bilevel", "solver=penalty", style=0.4),
            *row("distilled", style=0.9),
        )
    )
    assert [(p.line, p.strength, p.seeds) for p in found] == [
        ("bilevel (solver=penalty)", "default", 1),
        ("distilled", "default", 1),
        ("esd", "rate=0.0003", 1),
        ("esd", "default", 2),
        ("esd (eta=2.0)", "rate=0.0003", 1),
    ]
    assert found[3].means == pytest.approx({"target_style": 0.2, "kept_style": 0.8, "fid": 7.0})
    assert found[3].ranges["fid"] == (6.0, 8.0)


def test_comparison_at_equal_forgetting_interpolates_and_never_extrapolates() -> None:
    line = tradeoff.points(
        shown(*row("esd", style=0.1, kept=0.6, fid=8.0), *row("esd", "rate=1e-05", style=0.5, kept=1.0, fid=4.0))
    )
    assert tradeoff.at_level(line, 0.2) == pytest.approx({"kept_style": 0.7, "fid": 7.0})
    assert tradeoff.at_level(line, 0.1) == pytest.approx({"kept_style": 0.6, "fid": 8.0})
    assert tradeoff.at_level(line, 0.05) is None
    assert tradeoff.at_level(line[:1], 0.1) is None


def test_tradeoff_figure_writes_a_picture_and_its_points(tmp_path) -> None:
    write(tmp_path / "records", *row("esd", style=0.1), *row("esd", "rate=1e-05", style=0.5), *row("distilled"))
    out = tmp_path / "made" / "curve.png"
    told = ["figure", "tradeoff", "--records", str(tmp_path / "records"), "--out", str(out)]
    result = CliRunner().invoke(app, told)
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == [str(out), str(out.with_suffix(".csv"))]
    with Image.open(out) as picture:
        assert picture.width > 1000
    sheet = list(csv.DictReader(out.with_suffix(".csv").read_text("utf-8").splitlines()))
    assert [(one["method"], one["strength"]) for one in sheet] == [
        ("distilled", "default"), ("esd", "default"), ("esd", "rate=1e-05"), ("esd", "at target style 0.2"),
    ]  # fmt: skip
    assert sheet[1]["target_style"] == "0.1"
    assert "curve.gif must end in" in CliRunner().invoke(app, [*told[:-1], str(out.with_suffix(".gif"))]).output
    assert "Unknown figure 'trade'" in CliRunner().invoke(app, ["figure", "trade"]).output


def test_figure_shows_only_runs_with_the_given_limit_and_its_title_says_so(tmp_path, monkeypatch) -> None:
    limited = {"sampler": {**SAMPLER, "limit": 4}}
    write(tmp_path / "records", *row("esd", style=0.1), *row("uce", style=0.7, **limited))
    monkeypatch.setattr("benchmark.tables.select.RESULTS", tmp_path / "none")
    told = ["figure", "tradeoff", "--runs", str(tmp_path)]
    full = CliRunner().invoke(app, told)
    assert full.stdout.split() == [str(tmp_path / f"tradeoff.{suffix}") for suffix in ("png", "csv")]
    assert full.stderr == "1 more record is of runs with --limit 4: add --limit 4 to plot them.\n"
    result = CliRunner().invoke(app, [*told, "--limit", "4"])
    assert result.stdout.split() == [str(tmp_path / f"tradeoff-limit-4.{suffix}") for suffix in ("png", "csv")]
    methods = [
        [line.partition(",")[0] for line in (tmp_path / name).read_text("utf-8").splitlines()[1:]]
        for name in ("tradeoff.csv", "tradeoff-limit-4.csv")
    ]
    assert methods == [["esd"], ["uce"]]
    limits = {limit: tradeoff.draw(shown(*row("esd", sampler={**SAMPLER, **limit_of(limit)}))) for limit in (None, 4)}
    titles = {limit: figure.get_suptitle() for limit, figure in limits.items()}
    assert "--limit 4" in titles[4]
    assert "--limit" not in titles[None]
    refusal = CliRunner().invoke(app, [*told, "--limit", "5"])
    assert refusal.exit_code == 2
    assert "is of a run with --limit 5: add --limit 5 to a `bench run`" in refusal.stderr


def limit_of(limit: int | None) -> dict[str, int]:
    return {} if limit is None else {"limit": limit}


def test_records_without_any_damage_are_refused_in_one_sentence() -> None:
    bare = record("esd", values={"artists": {"target_style": 0.5}})
    with pytest.raises(DataError, match="has a value to plot against the target style"):
        tradeoff.draw(shown(bare))


CURVE = [
    {"phase": "lower", "iteration": 2, "flops": 100, "loss": 0.5},
    {"phase": "upper", "iteration": 1, "flops": 150, "loss": 0.9, "unlearning": 0.8, "retention": 0.001},
    {"phase": "lower", "iteration": 4, "flops": 250, "loss": 0.4},
]
LEDGER = {
    "iterations": 1, "images": 1, "unet_forwards": 1, "unet_backwards": 1, "wall_seconds": 1.0, "device_seconds": 1.0,
    "peak_memory_bytes": 1,
}  # fmt: skip


def test_losses_are_drawn_at_the_cost_spent_so_far(tmp_path) -> None:
    """A second stage begins where the distillation that it was charged for ended."""
    ledger = [{"phase": name, "flops": flops, **LEDGER} for name, flops in (("lower", 1000), ("all", 250))]
    late, early = row("esd", curve=CURVE, ledger=ledger)[0], row("bilevel", curve=CURVE, ledger=ledger[1:])[0]
    found = losses.lines(late)
    assert found["L_ft"] == ([1100, 1150, 1250], [0.5, 0.001, 0.4])
    assert found["L_CU"] == ([1150], [0.8])
    assert losses.lines(early)["L_CU"] == ([150], [0.8])
    assert losses.lines(row("uce")[0]) == {}
    assert losses.smooth([1.0, 3.0, 5.0], width=2) == [1.0, 2.0, 4.0]
    (path,) = losses.write(shown(late, early), tmp_path / "losses.svg")
    comments = re.findall(r"<!-- (.*?) -->", path.read_text())  # matplotlib draws text as shapes, and names it above
    assert {comment.partition(":")[0] for comment in comments} >= {"L_CU", "L_ft", "esd 0", "bilevel 0"}
    with pytest.raises(DataError, match="contains the losses"):
        losses.write(shown(*row("uce")), tmp_path / "none.png")
