"""`bench estimate` predicts the ledger of a run, and `bench run` asks for consent before a run of many hours."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_cli import answer, bench, fresh
from tiny import SAMPLER, context, materials, tiny_unet
from typer.main import get_command

from benchmark import registry
from benchmark.api.request import RunRequest
from benchmark.cli.app import app
from benchmark.cost import confirm, devices
from benchmark.cost.devices import GPUS
from benchmark.cost.estimate import Speeds, estimate
from benchmark.cost.network_costs import sizes
from benchmark.cost.testbed_facts import read_facts
from benchmark.cost.workload import AT_ONCE, KNOWN, plans
from benchmark.errors import BudgetError, UsageError
from benchmark.hardware import Device
from methods import costs
from methods.base import configure
from methods.budget import Budget
from methods.costs import Terms, spent
from methods.pruning.macs import forward_flops
from prompts.concepts import Concept

RECORDS = Path(__file__).parents[1] / "results" / "mini" / "records"
CONCEPT = Concept("style", ("A", "B"), "art")
SD21 = RunRequest("bilevel", "artists", testbed="sd21")
H100 = Speeds.of_device(devices.named("h100"))


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("distilled", {"batch": 2}),
        ("bilevel", {"batch": 2, "lower_steps": 2}),
        ("bilevel", {"batch": 3, "upper_batch": 2, "lower_steps": 1, "penalty": 0.5}),
        ("bilevel", {"batch": 2, "lower_steps": 1, "solver": "dynamic-barrier"}),
        ("bilevel", {"batch": 2, "solver": "penalty", "penalty": 10.0}),
        ("bilevel", {"batch": 2, "lower_steps": 1, "upper_data": "sampled", "objective": "anchor"}),
        ("esd", {"batch": 2, "steps": 3}),
        ("esd", {"batch": 1, "steps": 2, "target": "base"}),
        ("conceptprune", {}),
        ("uce", {}),
    ],
)
def test_estimated_phases_equal_the_ledger(name: str, given: dict[str, Any]) -> None:
    pairs = [("a house", "a house by A"), ("a boat", "a boat by A")]
    stand = materials(contrast={"A": pairs, "B": pairs})
    method, student, told = configure(registry.load("methods", name), **given), tiny_unet(2), context()
    size, length = SAMPLER.latent_size, len(stand.null)
    terms = Terms(
        base=forward_flops(stand.teacher, size, length),
        student=forward_flops(student, size, length),
        steps=SAMPLER.steps,
        calls=SAMPLER.steps + 1,
        guided=SAMPLER.guidance > 1,
        kind=CONCEPT.kind,
        contrast=8,
    )
    method.fit(student, stand, CONCEPT, Budget(iterations=5), told, 0)
    steps = method.cycle(terms)  # type: ignore[attr-defined]
    count = spent(steps, Budget(iterations=5))
    ledger = {entry.phase: (entry.iterations, entry.unet_forwards, entry.flops) for entry in told.ledger}
    assert ledger == {
        s.name: (count[s.name], count[s.name] * s.cost.forwards, count[s.name] * s.cost.flops)
        for s in steps
        if count[s.name]
    }


@pytest.mark.parametrize("method", ["distilled", "bilevel", "esd", "uce"])
def test_estimate_on_mini_matches_the_committed_ledger(method: str) -> None:
    found = [json.loads(path.read_text()) for path in RECORDS.glob(f"mini-{method}-artists-seed0-*.record.json")]
    usual = list(read_facts(RunRequest(method, "artists")).concept.targets)
    record = next(
        one
        for one in found
        if one["concept"]["targets"] == usual and one["budget"]["default"] and one["variant"] == "default"
        if (one["preset"], one["pruning"], one["macs"]) == ("default", "magnitude", 0.8)
    )
    ledger = {entry["phase"]: entry for entry in record["ledger"]}
    rows = [row.piece for row in estimate(RunRequest(method, "artists"), H100).rows if "train " in row.piece.what]
    pieces = {piece.kind: piece for piece in rows}  # the method's own phases come last
    for phase, entry in ledger.items():
        if phase == "concept images" or (method == "esd" and phase == "lower"):  # passed by the reference on its way
            continue
        assert pieces[phase].count == entry["iterations"]
        assert pieces[phase].flops == pytest.approx(entry["flops"], rel=1e-3)


def test_distillation_shared_with_the_reference_is_counted_once() -> None:
    def trained(*given: Any, **more: Any) -> list[str]:
        return [r.piece.what for r in estimate(RunRequest(*given, **more), H100).rows if r.piece.what[:5] == "train"]

    assert trained("distilled", "artists") == ["train distilled"]
    assert trained("esd", "artists") == ["train distilled", "train esd"]
    assert trained("esd", "artists", seed=1) == ["train distilled", "train distilled", "train esd"]
    assert trained("esd", "artists", budget="100it") == ["train distilled", "train distilled", "train esd"]
    assert trained("uce", "artists", budget="100it") == ["train distilled", "train uce"]


def test_size_table_matches_the_mini_testbed() -> None:
    from benchmark.testbeds.mini.testbed import Mini

    mini, told = Mini(), read_facts(RunRequest("bilevel", "artists"))
    assert (told.steps, told.guidance, told.size) == (
        mini.sampler.steps,
        mini.sampler.guidance,
        mini.sampler.latent_size,
    )
    assert (told.flops, told.half) == (mini.default_flops, mini.half)
    assert forward_flops(mini.base(), 16, mini.text_length) == told.sizes.call(16)
    assert {name: len(mini.prompts(name, mini.concept(()))) for name in told.prompt_counts} == told.prompt_counts
    cost = mini.erase_cost(mini.concept(()))
    assert (cost.images, cost.flops) == (told.erasing, told.erasing * 2 * told.calls * told.sizes.call(16))


def test_estimate_counts_the_calibration_images_of_each_pruning(tmp_path: Path) -> None:
    from benchmark.testbeds.mini import data
    from methods.pruning import taylor
    from methods.pruning.aptp.search import Search

    assert {"taylor": taylor.TIMES * taylor.BATCH, "aptp": Search().steps * Search().batch} == costs.CALIBRATION_IMAGES
    assert taylor.BATCH == Search().batch == AT_ONCE
    assert read_facts(RunRequest("distilled", "artists")).shown == data.PRUNING
    assert set(KNOWN) | {"none"} == set(registry.names("prunings"))

    kept = tmp_path / "mine.toml"
    kept.write_text('like = "sd21"\ncrops = 1\n')

    def looked(**changes: Any) -> dict[str, tuple[int, float]]:
        asked = replace(RunRequest("distilled", "artists", testbed=str(kept), budget="10it"), **changes)
        found = [row.piece for row in estimate(asked, H100).rows]
        return {piece.what: (piece.count, piece.flops) for piece in found if piece.kind in ("prune", "encode")}

    call, picture = sizes("sd21").call(64), sizes("sd21").encode
    train = {"encode training pictures": (118_287, 118_287 * picture)}
    shown = {"encode calibration images": (10_000, 10_000 * picture)}
    assert looked() == train
    assert looked(pruning="taylor") == {**train, **shown, "gradients of taylor": (256, 256 * 3 * call)}
    assert looked(pruning="aptp") == {**train, **shown, "search for experts": (9600, 9600 * 4 * call)}
    given = tmp_path / "given.toml"
    given.write_text('like = "mine.toml"\nexperts = "quantizer.safetensors"\n')
    assert looked(pruning="aptp", testbed=str(given)) == train
    assert looked(testbed="sd21") == {"encode in training steps": (640, 640 * picture)}
    told = estimate(RunRequest("distilled", "artists", pruning="mine"), H100).assumed
    assert any("removing weights takes no time, and neither does the calibration of mine" in line for line in told)


def test_sd21_sizes_match_its_architecture() -> None:
    """865.9 M parameters, 402.1 G multiply-accumulates a call at 64 x 64; VAE and text tower as published."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from benchmark.cost.count_flops import count, flops_of
    from benchmark.testbeds.stable_diffusion import architecture

    told = sizes("sd21")
    with torch.device("meta"):
        unet = UNet2DConditionModel(**architecture.UNET)
        vae: Any = AutoencoderKL(**architecture.VAE)
        tower = CLIPTextModel(CLIPTextConfig(**architecture.TEXT))
        latent = torch.empty(1, 4, 64, 64)
    assert count(unet) == told.parameters["unet"] == 865_910_724
    assert {"vae": count(vae), "text": count(tower)} == {name: told.parameters[name] for name in ("vae", "text")}
    assert forward_flops(unet, 64, 77) == told.call(64) == pytest.approx(2 * 402.1e9, rel=1e-3)
    assert flops_of(lambda: vae.decode(latent)) == told.decode


def test_estimate_uses_rehearsed_speeds_and_refuses_broken_rehearsals(tmp_path: Path) -> None:
    row = {"kind": "lower", "flops": 1e15, "seconds": 10.0, "error": None}
    failed = {"kind": "upper", "flops": None, "seconds": None, "error": "out of memory"}
    path = tmp_path / "rehearsal.json"
    path.write_text(json.dumps({"device": "cuda", "testbed": "sd21-rehearsal", "rows": [row, failed]}))
    speeds = Speeds.of_rehearsal(path)
    assert (speeds.of("lower"), speeds.of("upper")) == (1e14, 1e14)
    asked = ["estimate", "--method", "distilled", "--suite", "artists", "--testbed", "sd21", "--from", str(path)]
    assert "measured by `bench rehearse` on sd21-rehearsal" in bench(*asked).output
    path.write_text(json.dumps({"device": "cuda", "testbed": "x", "rows": [failed]}))
    assert "No stage" in answer(bench(*asked))
    path.write_text("{}")
    assert "run `bench rehearse` again" in answer(bench(*asked))
    assert "one of them" in answer(bench(*asked, "--on", "H100"))


def test_estimate_prints_its_assumptions_without_importing_torch(tmp_path: Path) -> None:
    done = fresh("estimate", "--method", "bilevel", "--suite", "artists", "--testbed", "sd21", "--on", "a100",
                 home=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1].strip() == "heavy:"
    assert "GPU-hours" in done.stdout
    assert "19.5 TFLOP/s in fp32, of which 50% are reached" in done.stdout
    assert "118,287 train pictures" in done.stdout


def test_estimate_refuses_invalid_options() -> None:
    asked = ["estimate", "--method", "bilevel", "--suite", "artists"]
    assert "Did you mean 'H100'?" in answer(bench(*asked, "--on", "H101"))
    assert "Did you mean 'bilevel'?" in answer(bench("estimate", "--method", "bilevle", "--suite", "artists"))
    assert "above 0 and at most 1" in answer(bench(*asked, "--macs", "0"))
    with pytest.raises(BudgetError, match="does not pay for one step"):
        estimate(RunRequest("distilled", "artists", budget="1e6"), H100)
    with pytest.raises(UsageError, match="cannot be estimated"):
        estimate(RunRequest("distilled", "artists", testbed="stranger"), H100)


# before a run


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Device:
    """A machine with an H100."""
    monkeypatch.setattr(confirm, "annotation_file", lambda folder, side: folder)
    found = next(gpu for gpu in GPUS if gpu.name == "H100")
    monkeypatch.setattr(devices, "here", lambda asked="auto": (found, True))
    return found


@pytest.mark.usefixtures("gpu")
def test_run_of_many_hours_asks_for_consent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(UsageError, match=r"GPU-hours.*add --yes"):
        confirm.consent([SD21], yes=False)
    assert capsys.readouterr().err == ""
    confirm.consent([SD21], yes=True)
    assert "estimate  about " in capsys.readouterr().err
    monkeypatch.setattr(confirm, "_is_interactive", lambda: True)
    for said, begun in (("y\n", True), ("\n", False), ("", False), ("no\n", False)):
        monkeypatch.setattr("sys.stdin", io.StringIO(said))
        if begun:
            confirm.consent([SD21], yes=False)
        else:
            with pytest.raises(UsageError, match="Not started"):
                confirm.consent([SD21], yes=False)


@pytest.mark.usefixtures("gpu")
def test_consent_is_not_asked_on_mini_but_asked_for_encoding_coco(
    capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    confirm.consent([RunRequest("bilevel", "artists")] * 6, yes=False)
    assert capsys.readouterr().err == ""
    (tmp_path / "kept.toml").write_text('like = "sd21"\ncrops = 1\n')
    short = RunRequest("distilled", "artists", testbed=str(tmp_path / "kept.toml"), budget="100it", alone=True)
    with pytest.raises(UsageError, match="add --yes"):  # COCO's 118,287 pictures are encoded first
        confirm.consent([short], yes=False)


def test_consent_without_a_gpu_counts_cpu_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "gpus", list)
    monkeypatch.setattr(confirm, "annotation_file", lambda folder, side: folder)
    with pytest.raises(UsageError, match="CPU-hours"):
        confirm.consent([SD21], yes=False)
    confirm.consent([RunRequest("bilevel", "artists")], yes=False)


@pytest.mark.usefixtures("gpu")
def test_run_command_of_many_hours_requires_yes() -> None:
    told = answer(bench("run", "--method", "bilevel", "--suite", "artists", "--testbed", "sd21"))
    assert "add --yes" in told


def test_estimate_accepts_every_option_of_run() -> None:
    options = {name: {o for p in command.params for o in p.opts} for name, command in get_command(app).commands.items()}
    assert options["estimate"] == options["run"] - {"--track", "--dry-run"} | {"--on", "--from"}
    result = bench(
        *("estimate", "--method", "all", "--suite", "artists", "--budget", "60it,30it", "--device", "cpu"),
        *("--kept-names", "none", "--limit", "1", "--compile", "--reveal", "--yes", "--on", "H100"),
    )
    assert "uce with budget 30it, including the models that it starts from:" in result.output


def test_estimate_with_limit_counts_the_prompts_of_a_limited_run() -> None:
    from benchmark.suites.prompts import first_of_groups
    from benchmark.testbeds.mini.testbed import Mini

    mini = Mini()
    prompts = mini.prompts("artists", mini.concept(()))
    limited = read_facts(RunRequest("esd", "artists", limit=2)).prompt_counts
    assert limited == {"artists": len(first_of_groups(prompts, 2)), "coco": 2}
    full, short = (estimate(replace(SD21, limit=limit), H100) for limit in (None, 1))
    assert short.hours < full.hours
    sampled = {row.piece.what: row.piece.count for row in short.rows}
    assert sampled["sample coco"] == 3  # of the base, the reference and the method
    explicit = read_facts(RunRequest("esd", "ring-a-bell", testbed="sd21", limit=5, alone=True))
    assert explicit.prompt_counts == {"ring-a-bell": 5}


@pytest.mark.parametrize("method", ["esd", "uce", "conceptprune"])
def test_methods_on_sd21_start_from_the_reference_of_the_paper_preset(method: str) -> None:
    """The testbed's preset is the paper's; uce has none of that name, and starts from what the others start from."""
    asked = RunRequest(method, "artists", testbed="sd21")
    reference, *others = plans(asked, read_facts(asked), 1.0)
    assert reference.preset == "paper"
    assert (reference.method.config.batch, reference.method.config.lower_rate) == (64, 1e-6)
    assert [plan.name for plan in others] == [method]
    assert others[0].preset == ("default" if method == "uce" else "paper")
    assert plans(replace(asked, testbed="mini"), read_facts(replace(asked, testbed="mini")), 1.0)[0].preset == "default"
