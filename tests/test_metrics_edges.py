"""Metrics refuse wrong shapes, too few images and broken features, and keep their directions and precision."""

import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from reference import metrics as reference

from metrics.base import FeatureMetric
from metrics.clip import CLIPSimilarity
from metrics.cp import CPScore
from metrics.csd import StyleSimilarity
from metrics.drift import Drift
from metrics.fid import FrechetDistance
from metrics.kid import KernelDistance
from metrics.oracle import ClassProbability

ROOT = Path(__file__).parents[1]


def features(rows=12, width=6, seed=0):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def test_entry_points_name_classes_that_exist_and_state_their_contract():
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["palimpsest.metrics"]
    for name, target in points.items():
        module, cls = target.split(":")
        metric = getattr(import_module(module), cls)
        assert issubclass(metric, FeatureMetric)
        assert metric.name == name
        assert metric.unit
        assert isinstance(metric.higher_is_better, bool)
        assert metric.stated_for in ("targets", "kept")


def test_directions_are_those_of_the_papers_table():
    assert not CLIPSimilarity.higher_is_better_for("targets")
    assert CLIPSimilarity.higher_is_better_for("kept")
    assert CPScore.higher_is_better_for("targets")
    assert not StyleSimilarity.higher_is_better_for("targets")
    assert StyleSimilarity.higher_is_better_for("kept")
    assert not FrechetDistance.higher_is_better_for("kept")
    assert not KernelDistance.higher_is_better_for("kept")
    assert not Drift.higher_is_better_for("kept")
    assert not ClassProbability.higher_is_better_for("targets")


def test_full_name_includes_the_back_end():
    assert FrechetDistance("mini", 6).full_name == "fid[mini]"
    assert CLIPSimilarity("vit-b-32").full_name == "clip[vit-b-32]"


def test_clip_is_not_clamped_at_zero():
    metric = CLIPSimilarity("t")
    metric.update(features(), -features())
    assert metric.compute().item() == pytest.approx(-100)


def test_unchanged_model_has_a_cp_of_zero():
    metric = CPScore("t")
    metric.update(features(), features(), features(seed=1))
    assert (metric.compute().item(), metric.ties) == (0, 12)
    assert metric.per_image().tolist() == [0] * 12


def test_cp_counts_images_that_match_the_text_less_than_the_reference():
    text = features()
    metric = CPScore("t")
    metric.update(-text, text, text)
    assert metric.compute().item() == 100


def test_drift_of_an_unchanged_model_is_zero_and_small_drift_is_precise():
    metric = Drift("t")
    metric.update(features(), 3 * features())
    assert metric.compute().item() < 1e-14
    metric.reset()
    metric.update(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1e-6]]))
    assert metric.compute().item() == pytest.approx(5e-13, rel=1e-4)


def test_fid_of_a_set_with_itself_is_zero_also_with_fewer_images_than_features():
    for rows in (50, 4):
        metric = FrechetDistance("t", 6)
        for real in (False, True):
            metric.update(features(rows), real)
        assert metric.compute().item() == pytest.approx(0, abs=1e-6)


def test_fid_from_saved_statistics_is_that_from_images_and_survives_a_reset():
    full = FrechetDistance("t", 6)
    full.update(features(40, seed=1), real=True)
    full.update(features(), real=False)
    short = FrechetDistance.from_stats("t", *full.stats(real=True))
    short.update(features(seed=2), real=False)
    short.reset()
    short.update(features(), real=False)
    assert short.compute().item() == pytest.approx(full.compute().item(), rel=1e-12)
    with pytest.raises(ValueError, match="only generated features"):
        short.update(features(), real=True)
    with pytest.raises(ValueError, match=re.escape("(6,) and (6, 5)")):
        FrechetDistance.from_stats("t", torch.zeros(6), torch.zeros(6, 5))


def test_fid_is_precise_when_features_lie_far_from_zero():
    near, far = FrechetDistance("t", 6), FrechetDistance("t", 6)
    for metric, shift in ((near, 0), (far, 1000)):
        metric.update(features(50).double() + shift, real=False)
        metric.update(1.5 * features(50, seed=1).double() + shift, real=True)
    assert far.compute().item() == pytest.approx(near.compute().item(), rel=1e-6)


def test_kid_is_unbiased_and_its_standard_error_matches_the_spread():
    values, errors = [], []
    for seed in range(40):
        metric = KernelDistance("t", 6)
        metric.update(features(30, seed=2 * seed), real=False)
        metric.update(features(30, seed=2 * seed + 1), real=True)
        values.append(metric.compute())
        errors.append(metric.standard_error())
    spread = torch.stack(values).std().item()
    assert abs(torch.stack(values).mean().item()) < 3 * spread / 40**0.5
    assert 0.5 < torch.stack(errors).mean().item() / spread < 2


def test_fid_standard_error_is_that_of_leaving_blocks_out():
    """Against the slow FID of what each block leaves; and it is of the size of what other images of one model give."""
    own, real = features(45), 1.5 * features(50, seed=1)
    metric = FrechetDistance("t", 6)
    metric.update(own, real=False)
    metric.update(real, real=True)
    left_out = [reference.fid(own[torch.arange(45) % 10 != k].numpy(), real.numpy()) for k in range(10)]
    assert metric.standard_error(own).item() == pytest.approx(9**0.5 * np.std(left_out), rel=1e-6)
    values, errors = [], []
    for seed in range(40):
        metric.reset()
        metric.update(real, real=True)
        metric.update(features(45, seed=10 + seed), real=False)
        values.append(metric.compute())
        errors.append(metric.standard_error(features(45, seed=10 + seed)))
    assert 0.5 < (torch.stack(errors).mean() / torch.stack(values).std()).item() < 2
    with pytest.raises(ValueError, match="all 45 generated features"):
        metric.standard_error(own[:40])


@pytest.mark.parametrize(("make", "few"), [(FrechetDistance, 1), (KernelDistance, 1)])
def test_too_few_images_are_refused(make, few):
    metric = make("t", 6)
    metric.update(features(), real=True)
    metric.update(features(few), real=False)
    with pytest.raises(ValueError, match="at least 2 generated images"):
        metric.compute()


def test_standard_error_of_three_images_is_refused():
    metric = KernelDistance("t", 6)
    metric.update(features(3), real=False)
    metric.update(features(), real=True)
    with pytest.raises(ValueError, match="at least 4 generated images"):
        metric.standard_error()


def test_score_without_images_is_refused():
    metric = CLIPSimilarity("t")
    metric.update(features(0), features(0))
    with pytest.raises(ValueError, match=re.escape("clip[t] has no images")):
        metric.compute()


@pytest.mark.parametrize("metric", [CLIPSimilarity("t"), StyleSimilarity("t"), Drift("t")], ids=lambda m: m.name)
def test_unpaired_rows_are_refused(metric):
    for other in (features(1), features(11), features(12, 5), features()[0]):
        with pytest.raises(ValueError, match="features"):
            metric.update(features(), other)


def test_cp_refuses_one_text_for_all_images():
    with pytest.raises(ValueError, match="the same shape"):
        CPScore("t").update(features(), features(), features(1))


@pytest.mark.parametrize("make", [FrechetDistance, KernelDistance])
def test_features_of_another_width_are_refused(make):
    with pytest.raises(ValueError, match="must have width 6"):
        make("t", 6).update(features(width=5), real=True)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_nan_or_infinite_features_are_refused(broken):
    spoiled = features()
    spoiled[3, 2] = broken
    with pytest.raises(ValueError, match="NaN or infinite"):
        Drift("t").update(spoiled, features())


def test_row_of_zeros_is_refused_with_its_number():
    spoiled = features()
    spoiled[3] = 0
    with pytest.raises(ValueError, match="row 3"):
        CLIPSimilarity("t").update(features(), spoiled)


def test_oracle_takes_only_probabilities_and_valid_class_indices():
    metric = ClassProbability("t", 6)
    good, asked = features().softmax(dim=1), torch.zeros(12, dtype=torch.int64)
    for probabilities, classes, message in (
        (features(), asked, "logits"),
        (good, asked.float(), "int64"),
        (good, asked[:5], "int64"),
        (good, asked - 1, r"0\.\.5"),
        (good, asked + 6, r"0\.\.5"),
        (features(width=7).softmax(dim=1), asked, "width 6"),
    ):
        with pytest.raises(ValueError, match=message):
            metric.update(probabilities, classes)


def test_per_image_scores_do_not_disturb_later_updates():
    metric = CLIPSimilarity("t")
    metric.update(features(4), features(4, seed=1))
    assert len(metric.per_image()) == 4
    metric.update(features(3), features(3, seed=1))
    assert len(metric.per_image()) == 7
    assert metric.compute().item() == pytest.approx(metric.per_image().mean().item())


def test_importing_the_package_loads_no_torch():
    code = "import sys, metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
