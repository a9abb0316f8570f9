"""`bench rehearse` runs every stage, and a stage that fails does not stop the others."""

import json
from pathlib import Path

import pytest
import torch
from standin import Standin
from test_cli import answer, bench

from benchmark.cost.estimate import Speeds
from benchmark.testbeds.rehearsal import networks
from benchmark.testbeds.rehearsal.testbed import Rehearsal
from methods import esd

SHORT = ["rehearse", "--testbed", "mini", "--batch", "2", "--steps", "1", "--images", "2", "--device", "cpu"]
STAGES = {
    "load", "prune", "bilevel: lower", "bilevel: upper", "conceptprune", "distilled: lower", "esd", "esd+kd: lower",
    "esd+kd: upper", "uce", "uce-captions", "sample", "decode", *(f"look: {job}" for job in Standin.networks),
}  # fmt: skip


@pytest.mark.usefixtures("standin")
def test_every_stage_is_rehearsed_and_a_failed_one_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nA page of advice.")

    monkeypatch.setattr(esd, "erasing_phase", full)
    out = tmp_path / "rehearsal.json"
    result = bench(*SHORT, "--runs", str(tmp_path), "--out", str(out))
    assert result.exit_code == 0, result.output + str(result.exception)
    told = json.loads(out.read_text())
    rows = {row["stage"]: row for row in told["rows"]}
    assert rows.keys() == STAGES
    assert {stage for stage, row in rows.items() if row["error"]} == {"esd"}
    assert "esd                  failed: CUDA out of memory.\n" in result.stdout
    for stage in ("bilevel: lower", "bilevel: upper", "conceptprune", "sample", "decode"):
        assert rows[stage]["flops"] > 0
        assert rows[stage]["utilisation"] > 0
        assert rows[stage]["memory"] > 0
    assert rows["sample"]["warm_up"] > 0
    assert rows["bilevel: lower"]["data_wait"] == rows["bilevel: upper"]["data_wait"]
    assert 0 <= rows["bilevel: lower"]["data_wait"] < 0.5  # mini's pictures are in memory
    assert rows["sample"]["data_wait"] is rows["bilevel: lower"]["warm_up"] is None
    speeds = Speeds.of_rehearsal(out)
    assert speeds.unit == "CPU-hours"
    assert speeds.of("sample") == pytest.approx(rows["sample"]["flops"] / rows["sample"]["seconds"])


def test_latent_size_needs_the_rehearsal_testbed_and_a_multiple_of_eight() -> None:
    assert "--latent-size needs --testbed sd21-rehearsal" in answer(bench(*SHORT, "--latent-size", "16"))
    result = bench("rehearse", "--latent-size", "12", "--device", "cpu")
    assert (result.exit_code, "--latent-size must be a multiple of 8; 12 is not." in result.stderr) == (2, True)


def test_rehearsal_has_the_unet_size_and_sampler_of_sd21(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes on the meta device: the full networks take gigabytes, and their own tests read published weights."""
    monkeypatch.setattr(networks, "filled", lambda network, device, dtype: network)
    unet = networks.unet(torch.device("cpu"), torch.bfloat16)
    assert sum(p.numel() for p in unet.parameters()) == 865_910_724
    stand = Rehearsal(latent_size=16)
    assert (stand.sampler.scheduler, stand.sampler.steps, stand.sampler.guidance) == ("pndm", 25, 7.5)
    assert not stand._loaded
