"""`bench compare`: pairing of units, statistical tests against scipy, and the scope of each claim."""

import itertools
import json
import tracemalloc

import numpy as np
import pytest
import scipy.stats
from record_examples import cell, record
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.errors import DataError, UsageError
from benchmark.records.record import scores_table, write_record
from benchmark.stats import mcnemar, sign_flip, student_interval, upper_bound
from benchmark.tables.compare import compare, only
from benchmark.tables.select import gather

SETS = (["Vincent van Gogh"], ["Claude Monet"])


def put(folder, method, seed=0, targets=SETS[0], prompts=(), preset="default", setting=None, **values):
    concept = {"kind": "style", "targets": list(targets), "anchor": "art", "neighbours": []}
    for suite in ("artists", "coco"):
        cells = {name: value for name, value in values.items() if (name == "fid") == (suite == "coco")}
        told = {"concept": concept, "values": cells, "reference_key": f"reference {seed}", "preset": preset}
        told |= setting or {}
        told |= {} if preset == "default" else {"label": f"{method} ({preset})"}
        each = record(method, suite, seed=seed, **told)
        ids = [f"p{k}" for k in range(len(prompts))]
        columns = {"clip": list(prompts), "cp": [100.0 * (v > 0) for v in prompts]} if suite == "artists" else {}
        n = len(prompts) if columns else 0
        write_record(folder, each, scores_table(ids[:n], ["targets"] * n, [""] * n, [0] * n, columns))


def compared(folder, left="bilevel", right="esd", **more):
    return compare(gather("mini", folder, [folder]), "mini", "artists", left, right, **more)


def test_tests_and_intervals_match_scipy() -> None:
    """Against scipy's permutation test and t interval."""
    rng = np.random.default_rng(3)
    for n in (2, 5, 9):
        values = rng.normal(0.4, 1, n).tolist()
        exact = scipy.stats.permutation_test(
            (values,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", n_resamples=np.inf
        )
        assert sign_flip(values) == pytest.approx(exact.pvalue)
        low, high = scipy.stats.t.interval(0.95, n - 1, np.mean(values), scipy.stats.sem(values))
        assert student_interval(values) == pytest.approx((low, high))
    many = rng.normal(0.2, 1, 60)
    assert sign_flip(many) == pytest.approx(scipy.stats.ttest_1samp(many, 0).pvalue, abs=0.02)
    assert sign_flip(many) == sign_flip(many.tolist())
    assert sign_flip([0.0, 0.0]) == 1
    assert student_interval([1.0]) is None


def test_non_inferiority_bound_matches_scipy_and_follows_column_direction(tmp_path) -> None:
    for n, values in enumerate(([0.30, 0.10], [0.20, 0.15], [0.22, 0.16])):
        put(tmp_path, "bilevel", seed=n, target_style=values[0], kept_style=values[0])
        put(tmp_path, "esd", seed=n, target_style=values[1], kept_style=values[1])
    differences = np.array([0.20, 0.05, 0.06])
    lower, upper = scipy.stats.t.interval(0.90, 2, differences.mean(), scipy.stats.sem(differences))
    assert upper_bound(differences.tolist()) == pytest.approx(upper)
    assert upper_bound([1.0]) is None
    bounds = {c.column.key: c.worse_by for c in compared(tmp_path, long=True).contrasts}
    assert bounds["target_style"] == pytest.approx(upper)  # lower is better
    assert bounds["kept_style"] == pytest.approx(-lower)  # higher is better
    arguments = ["compare", "bilevel", "esd", "--long", "--records", str(tmp_path), "--format"]
    shown = CliRunner().invoke(app, [*arguments, "markdown", "--non-inferiority"]).output
    row = next(line for line in shown.splitlines() if line.startswith("| target style"))
    assert row.endswith(f"| {upper:+.3f} |")
    assert "worse by at most" in shown
    assert "worse by" not in CliRunner().invoke(app, [*arguments, "markdown"]).output
    document = json.loads(CliRunner().invoke(app, [*arguments, "json"]).output)
    assert document["figures"]["kept_style"]["worse_by_at_most"] == pytest.approx(-lower)


def test_sign_flips_in_blocks_bound_memory_and_keep_the_p_value() -> None:
    values = np.random.default_rng(5)
    few, some, many = (values.normal(0.02, 1, n) for n in (17, 300, 5000))
    assert (sign_flip(few), sign_flip(some)) == (0.7648617569121544, 0.6298185090745463)
    assert sign_flip(some) == whole_sign_flip(some)
    tracemalloc.start()
    sign_flip(many)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6


def whole_sign_flip(data: np.ndarray) -> float:
    sums = np.random.default_rng(0).choice((-1.0, 1.0), (20_000, len(data))) @ data
    return float(((np.abs(sums) >= abs(data.sum()) - 1e-9 * np.abs(data).sum()).sum() + 1) / 20_001)


def test_default_preset_is_compared_or_else_the_only_one(tmp_path) -> None:
    put(tmp_path, "bilevel", target_style=0.2, preset="paper")
    put(tmp_path, "esd", target_style=0.5, preset="default")
    assert [c.left for c in compared(tmp_path, long=True).contrasts] == [0.2]
    put(tmp_path, "bilevel", target_style=0.1, preset="default")
    found = {c.column.key: c for c in compared(tmp_path, long=True).contrasts}
    assert found["target_style"].left == 0.1


def test_mcnemar_uses_only_discordant_pairs() -> None:
    left, right = [1.0] * 9 + [0.0] * 3 + [1.0] * 20, [0.0] * 9 + [1.0] * 3 + [1.0] * 20
    assert mcnemar(left, right) == pytest.approx(scipy.stats.binomtest(3, 12).pvalue)
    assert mcnemar(left, left) == 1


def test_only_shared_units_are_compared(tmp_path) -> None:
    for k, (seed, targets) in enumerate(itertools.product(range(3), SETS)):
        put(tmp_path, "bilevel", seed, targets, clip=10.0 + k, fid=5.0)
        if k:  # one unit lacks its partner
            put(tmp_path, "esd", seed, targets, clip=20.0 + 3 * k, fid=6.0 + k)
    result = compared(tmp_path)
    assert len(result.units) == 5
    assert "Vincent van Gogh (seed 0)" not in result.units
    clip, fid = result.contrasts
    differences = [-10.0 - 2 * k for k in range(1, 6)]
    assert clip.difference == pytest.approx(np.mean(differences))
    assert clip.left == pytest.approx(np.mean([10 + k for k in range(1, 6)]))
    assert clip.ci == pytest.approx(student_interval(differences))
    assert clip.p == pytest.approx(2 / 2**5)
    assert (clip.n, clip.over) == (5, "units")
    assert fid.column.key == "fid"
    assert any("0.0625" in note for note in result.notes)


def test_single_pair_of_models_is_compared_over_prompts_with_a_caveat(tmp_path) -> None:
    put(tmp_path, "bilevel", prompts=[1.0, 2.0, 3.0, -1.0], clip=1.25, cp=75.0, fid=5.0)
    put(tmp_path, "esd", prompts=[2.0, 4.0, -6.0, -8.0], clip=-2.0, cp=50.0, fid=6.0)
    result = compared(tmp_path)
    by_key = {c.column.key: c for c in result.contrasts}
    assert by_key["clip"].over == "prompts"
    assert by_key["clip"].n == 4
    assert by_key["clip"].p == pytest.approx(sign_flip([-1.0, -2.0, 9.0, 7.0]))
    assert by_key["cp"].test == "McNemar"
    assert by_key["cp"].p == 1  # they differ on one prompt only
    assert by_key["fid"].p is None
    assert by_key["fid"].ci is None
    assert any("nothing about other seeds" in note for note in result.notes)


def test_cp_of_different_references_is_left_out(tmp_path) -> None:
    put(tmp_path, "bilevel", clip=1.0, cp=75.0)
    values = {"clip": 2.0, "cp": 50.0}
    concept = {"kind": "style", "targets": SETS[0], "anchor": "art", "neighbours": []}
    other = record("esd", concept=concept, values=values, reference_key="another")
    write_record(tmp_path, other, scores_table([], [], [], [], {}))
    result = compared(tmp_path)
    assert [c.column.key for c in result.contrasts] == ["clip"]
    assert any(note.startswith("CP is left out") for note in result.notes)


def test_records_with_different_budgets_or_settings_are_not_paired(tmp_path) -> None:
    put(tmp_path, "bilevel", clip=1.0)
    with pytest.raises(DataError, match=r"no record of 'esd'.*There are: bilevel"):
        compared(tmp_path)
    concept = {"kind": "style", "targets": SETS[0], "anchor": "art", "neighbours": []}
    small = record("esd", concept=concept, budget={"flops": 1.0, "default": False}, values={"clip": cell("clip", 3.0)})
    write_record(tmp_path, small, scores_table([], [], [], [], {}))
    with pytest.raises(DataError, match="share no targets, seed"):
        compared(tmp_path)
    other = record(
        "esd", concept=concept, variant="rate=1", label="esd (rate=1)", values={"clip": cell("clip", 4.0)}, seed=0
    )
    write_record(tmp_path, other, scores_table([], [], [], [], {}))
    with pytest.raises(DataError, match="share no targets, seed"):
        compared(tmp_path)  # "esd" is its default settings
    assert compared(tmp_path, right="esd (rate=1)").contrasts[0].right == 4.0


def test_comparison_uses_one_pruning_and_macs_at_a_time(tmp_path) -> None:
    for method, base in (("bilevel", 1.0), ("esd", 2.0)):
        for seed in (0, 1):
            put(tmp_path, method, seed=seed, clip=base)
        for pruning, macs, value in (("magnitude", 0.55, 10.0), ("taylor", 0.55, 40.0), ("taylor", 0.7, 90.0)):
            put(tmp_path, method, clip=base * value, setting={"pruning": pruning, "macs": macs})
        put(tmp_path, method, clip=7.0 * base, setting={"budget": {"iterations": 20, "default": False}})
    usual = compared(tmp_path)
    assert [(c.left, c.right, c.n) for c in usual.contrasts] == [(1.0, 2.0, 2)]
    assert usual.notes[-1].startswith("4 more pairs of runs have a different pruning, budget")
    other = compared(tmp_path, macs=0.7)
    assert [(c.left, c.right) for c in other.contrasts] == [(90.0, 180.0)]
    assert "Both sides: taylor, 70% of MACs." in other.notes
    assert compared(tmp_path, pruning="taylor", macs=0.55).contrasts[0].left == 40.0
    for asked in ({"pruning": "random"}, {"pruning": "magnitude", "macs": 0.7}):
        with pytest.raises(DataError, match=f"share no .* with {asked['pruning']}"):
            compared(tmp_path, **asked)


def test_command_prints_all_formats(tmp_path) -> None:
    put(tmp_path, "bilevel", prompts=[1.0, 2.0], clip=1.5, fid=5.0)
    put(tmp_path, "esd", prompts=[2.0, 4.0], clip=3.0, fid=6.0)
    said = {}
    for form in ("rich", "json", "markdown"):
        asked = ["compare", "bilevel", "esd", "--records", str(tmp_path), "--format", form]
        result = CliRunner().invoke(app, asked)
        assert result.exit_code == 0, result.output
        said[form] = result.output
    told = json.loads(said["json"])
    assert told["figures"]["clip"]["difference"] == -1.5
    assert told["figures"]["fid"]["p"] is None
    assert "Vincent van Gogh (seed 0)" in said["rich"]
    assert said["markdown"].count("|") == 8 * 4


def test_score_missing_in_one_unit_is_compared_over_the_others(tmp_path) -> None:
    for seed in range(3):
        put(tmp_path, "bilevel", seed, cp=90.0 + seed, **({"fid": 5.0} if seed else {}))
        put(tmp_path, "esd", seed, cp=80.0, **({"fid": 6.0 + seed} if seed else {}))
    told = {each.column.key: each for each in compared(tmp_path).contrasts}
    assert any("They share one set of targets" in note for note in compared(tmp_path).notes)
    assert (told["cp"].n, told["cp"].difference) == (3, pytest.approx(11))
    assert (told["fid"].n, told["fid"].difference, told["fid"].left) == (2, pytest.approx(-2.5), 5.0)
    assert [each.column.key for each in only(compared(tmp_path), ["fid", "cp"]).contrasts] == ["fid", "cp"]
    with pytest.raises(UsageError, match=r"^Column 'kid' was not compared; there are: cp, fid\.$"):
        only(compared(tmp_path), ["kid"])
