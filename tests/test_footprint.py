"""Pruning footprint: parameters, MACs, times and search FLOPs agree with the networks themselves."""

import csv
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmark.api.request import Runtime
from benchmark.console import Progress
from benchmark.experiments import footprint
from benchmark.models.pruned import Pruned
from benchmark.pipeline.setup import workbench_for


def test_footprint_matches_the_network_and_its_median_time(
    standin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from methods.pruning import macs

    bench = workbench_for(Runtime(device="cpu"), tmp_path, Progress())
    clock = iter(seconds for k in range(footprint.WARM_UP + footprint.TIMED) for seconds in (100 * k, 100 * k + 1 + k))
    with monkeypatch.context() as patches:
        patches.setattr(footprint, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
        whole = footprint.footprint(bench, Pruned("none", 1.0))
    base, size, length = bench.testbed.base(), bench.testbed.sampler.latent_size, bench.testbed.text_length
    assert whole["parameters"] == sum(weight.numel() for weight in base.parameters())
    assert (whole["counted"], whole["published"]) == (1.0, 1.0)
    # Passes take 1, 2, 3, ... seconds for eight images; the first two are not timed, so the median is of 3 to 12.
    assert whole["milliseconds"] == pytest.approx(1000 * 7.5 / 8)
    half = footprint.footprint(bench, Pruned("magnitude", 0.7))
    small = Pruned("magnitude", 0.7).load(bench)[0]
    assert half["parameters"] == sum(weight.numel() for weight in small.parameters()) < whole["parameters"]
    assert half["counted"] == pytest.approx(macs.count_macs(small, size, length) / macs.count_macs(base, size, length))
    assert half["published"] == pytest.approx(macs.published_macs(small) / macs.published_macs(base))
    made = footprint.write([whole, half], tmp_path / "footprint.csv")
    rows = list(csv.DictReader(made.read_text("utf-8").splitlines()))
    assert [(row["pruning"], float(row["macs"])) for row in rows] == [("none", 1.0), ("magnitude", 0.7)]
    assert tuple(rows[0]) == footprint.COLUMNS


@pytest.mark.parametrize("name", ["taylor", "aptp"])
def test_reported_flops_of_a_pruning_match_the_counted_ones(standin: Path, tmp_path: Path, name: str) -> None:
    """Matrix products and convolutions as torch counts them while a pruning looks at its pictures."""
    from benchmark.models.prunings import spent
    from methods.pruning import taylor
    from methods.pruning.aptp.search import Search, search
    from methods.pruning.costs import Costs

    bench = workbench_for(Runtime(device="cpu"), tmp_path, Progress())
    base, shown = bench.testbed.base(), bench.testbed.pictures(bench)
    costs = Costs.of(base, bench.testbed.sampler.latent_size, bench.testbed.text_length)
    embeddings = torch.randn(len(shown.captions), 8, generator=torch.Generator().manual_seed(0))
    told, counter = spent(bench, name), FlopCounterMode(display=False)
    with counter:
        if name == "taylor":
            base.requires_grad_(True)
            taylor._accumulate(base, shown)
        else:
            search(base, shown, embeddings, Search(steps=1), costs)
            told /= Search().steps
    # Backward passes are charged whole, as everywhere; where weights stay, only half of one is computed.
    assert (0.7 if name == "aptp" else 0.95) * told < counter.get_total_flops() < 1.05 * told
    assert spent(bench, "magnitude") == 0
