"""bf16: weights stay fp32, results are distinct from fp32's, and a GPU's memory layout changes no result."""

import copy
import dataclasses
from pathlib import Path

import pytest
import torch
from standin import Standin, request, whole
from test_training_loop import CONCEPT, SMALL, Faulty, bilevel, pruned
from tiny import LENGTH, SAMPLER, SCHEDULER, SIZE, WIDTH, Memory, context, materials, same, tiny_unet
from typer.testing import CliRunner

from benchmark.api.model import Components
from benchmark.api.request import RunRequest
from benchmark.api.testbed import Workbench
from benchmark.cli.app import app
from benchmark.console import Progress
from benchmark.cost import devices
from benchmark.cost.estimate import Speeds, estimate
from benchmark.cost.testbed_facts import precision_of
from benchmark.errors import DataError, UsageError
from benchmark.generation import images
from benchmark.generation.features import features_identity
from benchmark.models.fitted import Base
from benchmark.models.plan import identity, plan_of
from benchmark.pipeline import run
from benchmark.records.record import read_records
from benchmark.store.artefacts import Store, key_of
from benchmark.suites.artists import Artists
from benchmark.tables.table1_styles import table
from benchmark.testbeds.mini.testbed import Mini
from benchmark.testbeds.stable_diffusion.definition import read
from methods.budget import Budget
from methods.conceptprune import ConceptPrune
from methods.distilled import Distilled, DistilledConfig
from methods.esd import Esd, EsdConfig
from methods.sampling import initial_noise, sample
from methods.training import loop
from methods.training.precision import compiled, decoding, lowered, settle

CPU = torch.device("cpu")
RECORDS = Path(__file__).parents[1] / "results" / "mini" / "records"


def fitted(method, precision: str, steps: int = 3, memory: Memory | None = None, **changes):
    place = dataclasses.replace(context(memory), precision=precision)
    given = materials(**changes)
    return method.fit(copy.deepcopy(pruned()), given, CONCEPT, Budget(iterations=steps), place, 0), place, given


def test_bf16_training_has_fp32_weights_and_moments_and_a_close_loss() -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        memory = Memory()
        method = Distilled(DistilledConfig(**{**SMALL, "checkpoint_every": 1, "log_every": 1}))
        unet, place, given = fitted(method, precision, memory=memory)
        losses[precision] = [row["loss"] for row in place.curve]
        assert {p.dtype for p in unet.parameters()} == {torch.float32}
        assert {tensor.dtype for tensor in memory.states[-1].tensors.values()} == {torch.float32}
        assert given.teacher.dtype == (torch.float32 if precision == "fp32" else torch.bfloat16)
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)


@pytest.mark.parametrize(
    "method",
    [
        bilevel(upper_data="sampled", lower_steps=1),  # the student samples without gradient before it is trained
        bilevel(solver="dynamic-barrier", upper_optimiser="sgd", upper_rate=0.1, lower_steps=1),
        Esd(EsdConfig(batch=2, steps=3)),
    ],
    ids=["sampled", "barrier", "esd"],
)
def test_bf16_moves_the_same_weights_in_nearly_the_same_direction(method) -> None:
    word = torch.randn(LENGTH, WIDTH, generator=torch.Generator().manual_seed(8))
    start = dict(pruned().named_parameters())
    steps = {}
    for precision in ("fp32", "bf16"):
        unet, _, _ = fitted(method, precision, 4, encode=lambda texts: word.expand(len(texts), -1, -1))
        steps[precision] = {name: (p - start[name]).detach().flatten() for name, p in unet.named_parameters()}
    moved = [{name for name, step in each.items() if step.any()} for each in steps.values()]
    assert moved[0] == moved[1]
    exact, rough = (torch.cat([each[name] for name in moved[0]]) for each in steps.values())
    assert torch.cosine_similarity(exact, rough, dim=0) > 0.9


def test_conceptprune_in_bf16_returns_fp32_weights() -> None:
    pairs = {"Vincent van Gogh": [("a house", "a house by him")]}
    unet, _, _ = fitted(ConceptPrune(), "bf16", contrast=pairs)
    assert {p.dtype for p in unet.parameters()} == {torch.float32}


def test_bf16_model_is_sampled_with_fp32_latents() -> None:
    unet = tiny_unet(3).eval()
    text = torch.randn(3, LENGTH, WIDTH, generator=torch.Generator().manual_seed(1))
    given = (SCHEDULER, text, torch.zeros(LENGTH, WIDTH), initial_noise([1, 2, 3], (4, SIZE, SIZE)), SAMPLER)
    exact = sample(unet, *given)
    rough = sample(lowered(copy.deepcopy(unet), CPU, "bf16"), *given)
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, rough.bfloat16().float())  # sums of the scheduler were not rounded to it
    assert 0 < (rough - exact).norm() < 0.05 * exact.norm()


def test_channels_last_training_resumes_exactly_and_returns_contiguous_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "laid_out", lambda *given: {"memory_format": torch.channels_last})
    method, memory = bilevel(lower_steps=2), Memory()
    whole_, _, _ = fitted(method, "fp32", 6)
    with pytest.raises(KeyboardInterrupt):
        fitted(method, "fp32", 6, memory, retain=Faulty(3, KeyboardInterrupt()))
    again, _, _ = fitted(method, "fp32", 6, memory)
    assert same(whole_, again)
    assert all(p.is_contiguous() for p in again.parameters())
    monkeypatch.undo()
    plain, _, _ = fitted(method, "fp32", 6)
    start, other, unet = (torch.nn.utils.parameters_to_vector(u.parameters()) for u in (pruned(), plain, again))
    assert (unet - other).norm() < 0.01 * (other - start).norm()


def test_tf32_is_allowed_only_while_decoding_in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, cudnn = torch.device("cuda"), torch.backends.cudnn
    monkeypatch.setattr(cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **how: True)
    settle(gpu, "bf16")
    assert not cudnn.allow_tf32
    for precision, allowed in (("fp32", False), ("bf16", True)):
        with decoding(gpu, precision):  # type: ignore[arg-type]
            assert (cudnn.allow_tf32, cudnn.enabled) == (allowed, True)
        assert not cudnn.allow_tf32


def test_pruned_blocks_of_every_shape_are_compiled() -> None:
    from torch._dynamo.utils import counters

    unet = copy.deepcopy(pruned()).eval()
    given = (torch.randn(2, 4, SIZE, SIZE), 3, torch.randn(2, LENGTH, WIDTH))
    with torch.no_grad():
        plain = unet(*given).sample
        counters.clear()
        again = compiled(unet, backend="eager")(*given).sample
    assert torch.allclose(plain, again, atol=1e-5)
    blocks = [m for m in unet.modules() if type(m).__name__ == "BasicTransformerBlock"]
    assert counters["stats"]["unique_graphs"] >= len({tuple(p.shape for p in block.parameters()) for block in blocks})


# what is known of it


def mini_bench(home: Path, precision: str) -> Workbench:
    testbed = Mini()
    return Workbench(testbed, Store(home, testbed.shipped), Progress(), CPU, precision=precision)  # type: ignore[arg-type]


def test_committed_results_are_found_for_fp32_and_not_for_bf16(tmp_path: Path) -> None:
    records = [r for r in read_records([RECORDS]) if (r.method, r.variant, r.seed) == ("bilevel", "default", 0)]
    kept = {record.reference_key for record in records if record.suite == "artists"}
    keys, found = {}, {}
    for precision in ("fp32", "bf16"):
        bench = mini_bench(tmp_path, precision)
        concept = bench.testbed.concept(())
        plan = plan_of(bench, RunRequest("distilled", "artists"), concept)
        keys[precision] = key_of("model", identity(bench, plan))
        asked = bench.testbed.prompts("artists", concept)
        shipped = features_identity(bench, Base(bench), asked, Artists())
        found[precision] = bench.store.find("features", shipped) is not None
    assert keys["fp32"] in kept
    assert keys["bf16"] not in kept
    assert found == {"fp32": True, "bf16": False}


@pytest.mark.usefixtures("standin")
def test_records_of_two_precisions_stand_side_by_side(tmp_path: Path) -> None:
    given = {"method": "distilled", "suite": "coco", "overrides": {"batch": 4}}
    exact, rough = (whole(tmp_path, **given, precision=name).records for name in ("", "bf16"))
    assert all("precision" not in record.sampler for record in exact)
    assert {record.sampler["precision"] for record in rough} == {"bf16"}
    assert {record.stem for record in exact}.isdisjoint(record.stem for record in rough)
    last = [records[-1] for records in (exact, rough)]
    assert last[0].cells["clip"].value == pytest.approx(last[1].cells["clip"].value, abs=2)
    shown = table([(record, "local") for record in (*exact, *rough)], "mini", "coco")
    assert not any("bf16" in row.label for row in shown.rows)
    shown = table([(record, "local") for record in rough], "mini", "coco")
    assert all("bf16" in row.label for row in shown.rows)


def test_pictures_are_the_same_when_sampled_a_few_at_a_time(weights: Path, tmp_path: Path) -> None:
    bench = Workbench(Standin(weights), Store(tmp_path), Progress(), CPU)
    asked = bench.testbed.prompts("artists", bench.testbed.concept(()))[:7]
    testbed = bench.testbed
    unet = images.ready(bench, testbed.base())
    components = Components(unet, testbed.encode, testbed.decode, testbed.scheduler)
    together = torch.stack(images.render(bench, components, asked))
    bench.together.most = 3
    apart = torch.stack(images.render(bench, components, asked))
    assert (together.int() - apart.int()).abs().max() <= 1


def test_precision_of_a_testbed_is_used_unless_the_request_sets_one(tmp_path: Path) -> None:
    path = tmp_path / "rough.toml"
    path.write_text('like = "sd21"\nprecision = "bf16"\n')
    assert read(path).precision == "bf16"
    assert precision_of(RunRequest("distilled", "artists", testbed=str(path))) == "bf16"
    assert precision_of(RunRequest("distilled", "artists", testbed=str(path), precision="fp32")) == "fp32"
    assert precision_of(RunRequest("distilled", "artists", testbed="sd21")) == "fp32"
    path.write_text('like = "sd21"\nprecision = "fp8"\n')
    with pytest.raises(DataError, match="'precision'"):
        read(path)


def test_bf16_estimate_is_faster_and_needs_less_memory_than_fp32(tmp_path: Path) -> None:
    told = {}
    kept = tmp_path / "kept.toml"
    kept.write_text('like = "sd21"\ncrops = 1\n')  # the VAE is not asked in bf16
    for precision in ("fp32", "bf16"):
        asked = RunRequest("bilevel", "artists", testbed=str(kept), budget="20000it", precision=precision)
        told[precision] = estimate(asked, Speeds.of_device(devices.named("h100"), precision))
    assert told["bf16"].hours < told["fp32"].hours / 5
    assert told["bf16"].flops == told["fp32"].flops
    assert told["fp32"].memory > told["bf16"].memory > 80e9 > told["bf16"].least
    assert any("norms stay in fp32" in line for line in told["bf16"].assumed)


def test_unknown_precision_is_refused() -> None:
    with pytest.raises(UsageError, match="fp32 or bf16; 'fp16' is not"):
        request(Path("runs"), precision="fp16")


def test_out_of_memory_gives_an_error_that_advises_bf16(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*given: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nA page of advice.")

    monkeypatch.setattr(run, "run", full)
    asked = ["run", "--method", "bilevel", "--suite", "artists", "--runs", str(tmp_path), "--device", "cpu"]
    result = CliRunner().invoke(app, asked)
    assert (result.exit_code, "error: CUDA out of memory: try --precision bf16" in result.stderr) == (2, True)
