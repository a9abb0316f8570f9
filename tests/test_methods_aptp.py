"""APTP: prompt assignment, gates, architecture costs, losses, the search for experts, and published experts."""

import copy
import math
import sys
from operator import mul
from pathlib import Path
from types import ModuleType

import pytest
import torch
from diffusers import UNet2DConditionModel
from reference.transport import assignment
from safetensors.torch import save_file
from tiny import LENGTH, SCHEDULER, SD21, SIZE, WIDTH, Memory, Pictures, same, tiny_unet

from benchmark.errors import BudgetError, DataError, UsageError
from methods.base import State
from methods.config_fields import check_classified
from methods.pruning.aptp import losses
from methods.pruning.aptp import search as search_module
from methods.pruning.aptp.experts import Experts, nearest, prune, published
from methods.pruning.aptp.relaxed import gumbel_sigmoid, straight_through
from methods.pruning.aptp.resuming import steps_of
from methods.pruning.aptp.router import Router, sinkhorn
from methods.pruning.aptp.search import Search, budgets, search
from methods.pruning.aptp.sentences import sentence_transformer, text_tower
from methods.pruning.costs import Costs
from methods.pruning.macs import count_macs
from methods.pruning.pictures import Pictures as Shown
from methods.pruning.vector import Layout, hardened, to_architecture
from methods.training.batches import BatchStream

QUICK = Search(steps=60, batch=16, experts=8, macs=0.7)


def base() -> UNet2DConditionModel:
    return tiny_unet(channels=(16, 32, 32), layers=2).eval()


def costs_of(unet: UNet2DConditionModel) -> Costs:
    return Costs.of(unet, SIZE, LENGTH)


def embeddings(count: int = 48, kinds: int = 8) -> torch.Tensor:
    """Prompts of some kinds, alike within each, and all with much in common."""
    source = torch.Generator().manual_seed(5)
    centres = torch.randn(kinds, WIDTH, generator=source)
    noise = 0.2 * torch.randn(count, WIDTH, generator=source)
    return centres[torch.arange(count) % kinds] + noise + 3


@pytest.fixture(scope="module")
def searched() -> Experts:
    unet, before = base(), base()
    shown = Shown(Pictures(0, 48), ["a boat"] * 48, torch.zeros(LENGTH, WIDTH), SCHEDULER)
    found = search(unet, shown, embeddings(), QUICK, costs_of(unet))
    assert same(unet, before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in unet.modules())
    return found


def test_sinkhorn_is_balanced_and_matches_a_plain_implementation() -> None:
    similarity = torch.rand(40, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    similarity[:, 3] = 1.0  # all would go to one code
    q = sinkhorn(similarity)
    assert (q.sum(1) - 1).abs().max() < 1e-3
    assert (q.sum(0) - 5).abs().max() < 1e-3
    torch.testing.assert_close(q, torch.tensor(assignment(similarity.tolist(), 0.05)), atol=1e-3, rtol=1e-2)


def test_relaxed_gate_opens_with_the_probability_of_its_logit() -> None:
    logits = torch.tensor([-6.0, -3.0, -2.0, 0.0]).expand(20_000, 4)
    drawn = gumbel_sigmoid(logits, torch.Generator().manual_seed(0)) >= 0.5
    # Open where logit + base + Gumbel > 0, and P(Gumbel > -x) = 1 - exp(-exp(x)).
    expected = 1 - torch.exp(-torch.exp(logits[0] + 3))
    torch.testing.assert_close(drawn.float().mean(0), expected, atol=0.01, rtol=0)


def test_hard_gates_pass_the_gradient_straight_through() -> None:
    layout = Layout.of(base())
    logits = torch.randn(3, layout.length, generator=torch.Generator().manual_seed(0)).sub(3).requires_grad_()
    soft = torch.sigmoid(logits)
    hard = straight_through(layout, soft)
    torch.testing.assert_close(hard, hardened(layout, soft.detach()))
    weights = torch.arange(layout.length).float()
    (hard * weights).sum().backward()
    torch.testing.assert_close(logits.grad, weights * soft.detach() * (1 - soft.detach()))


def test_cost_of_a_vector_equals_the_macs_of_its_network() -> None:
    unet = base()
    costs, whole = costs_of(unet), count_macs(unet, SIZE, LENGTH)
    for seed in range(3):
        vector = torch.rand(costs.layout.length, generator=torch.Generator().manual_seed(seed))
        vector = hardened(costs.layout, vector)
        small = to_architecture(unet, vector).apply(unet)
        assert float(costs.share(vector)) == pytest.approx(count_macs(small, SIZE, LENGTH) / whole, rel=1e-9)
    least = to_architecture(unet, torch.zeros(costs.layout.length)).apply(unet)
    assert costs.least() == pytest.approx(count_macs(least, SIZE, LENGTH) / whole, rel=1e-9)


@pytest.mark.parametrize("asked", [0.9, 0.8, 0.65, 0.55])
def test_hardened_expert_meets_its_macs_budget(asked: float) -> None:
    costs = costs_of(base())
    scores = torch.rand(costs.layout.length, generator=torch.Generator().manual_seed(7))
    assert float(costs.share(costs.harden(scores, asked))) == pytest.approx(asked, abs=0.01)


def test_expert_budgets_stay_within_reachable_macs() -> None:
    assert budgets(Search(), 0.1).tolist() == pytest.approx([0.4 + 0.4 * k / 7 for k in range(8)])
    assert budgets(Search(macs=0.9), 0.1).max() <= 1
    assert budgets(Search(macs=0.3), 0.2).min() >= 0.2
    assert budgets(Search(experts=1), 0.1).tolist() == pytest.approx([0.6])
    for wrong in (0.0, 1.5):
        with pytest.raises(BudgetError, match="fraction"):
            budgets(Search(macs=wrong), 0.1)
    with pytest.raises(BudgetError, match=r"request at least 20\.0%"):
        budgets(Search(macs=0.15), 0.2)
    check_classified(Search)


def test_expert_budget_at_the_reachable_minimum_is_accepted() -> None:
    """A budget is in fp32 and may lie below the least that it was made from, by less than anything can be cut."""
    unet = base()
    for length in range(1, 9):
        costs = Costs.of(unet, SIZE, length)
        scores = torch.rand(costs.layout.length, generator=torch.Generator().manual_seed(length))
        lowest = float(budgets(Search(macs=costs.least() + 0.1), costs.least())[0])
        assert float(costs.share(costs.harden(scores, lowest))) == pytest.approx(costs.least(), abs=1e-6)


def test_minimum_macs_named_in_the_error_are_accepted() -> None:
    costs = costs_of(base())
    for k in range(100):
        least = 0.2 + k / 99_999
        with pytest.raises(BudgetError, match="request at least") as error:
            budgets(Search(macs=0.1), least)
        told = float(str(error.value).split("request at least ")[1].split("%")[0]) / 100
        assert budgets(Search(macs=told), least).mean() == pytest.approx(told)
        assert told - least < 0.001
    with pytest.raises(BudgetError) as error:
        costs.harden(torch.rand(costs.layout.length), costs.least() - 0.01)
    told = float(str(error.value).split("request at least ")[1].split("%")[0]) / 100
    costs.harden(torch.rand(costs.layout.length), told)


def test_macs_accepted_before_the_search_are_accepted_after_it() -> None:
    """Experts come out a little off their budgets, which are what is known before."""
    before = budgets(Search(), 0.1)
    for asked, expert in ((0.85, 7), (0.35, 0)):
        assert nearest(before.tolist(), asked) == expert
        for off in (-0.003, 0.003):
            assert nearest((before + off).tolist(), asked) == expert
    with pytest.raises(BudgetError, match=r"No expert has about 0\.87"):
        nearest(before.tolist(), 0.87)


def test_searched_experts_meet_their_budgets_within_two_percent(searched: Experts) -> None:
    asked = budgets(QUICK, costs_of(base()).least())
    assert searched.shares == pytest.approx(asked.tolist(), abs=0.02)


def test_prompts_spread_over_experts_and_similar_prompts_share_one(searched: Experts) -> None:
    chosen = searched.route(Layout.of(base()), embeddings())
    assert len(chosen.unique()) >= 5
    kinds = torch.arange(48) % 8  # prompts that are alike share their expert
    together = [float((chosen[kinds == k] == chosen[kinds == k].mode().values).float().mean()) for k in range(8)]
    assert sum(together) / 8 > 0.75  # by chance it would be less than half


def test_search_is_deterministic_for_each_seed() -> None:
    def found(seed: int) -> Experts:
        shown = Shown(Pictures(0, 48), ["a boat"] * 48, torch.zeros(LENGTH, WIDTH), SCHEDULER)
        config = Search(steps=3, batch=4, experts=3, macs=0.7, alone=0.4, seed=seed)
        return search(base(), shown, embeddings(), config, costs_of(base()))

    assert torch.equal(found(0).scores, found(0).scores)
    assert not torch.equal(found(0).scores, found(1).scores)


@pytest.mark.parametrize("stop", [2, 4])  # while the predictor learns alone, and after the codes have begun to
def test_stopped_search_resumes_to_the_same_experts(stop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "CHECKPOINT_EVERY", 2)
    config = Search(steps=6, batch=4, experts=3, macs=0.7, alone=0.5)
    shown = Shown(Pictures(0, 48), ["a boat"] * 48, torch.zeros(LENGTH, WIDTH), SCHEDULER)
    curve: list[tuple[int, dict[str, float]]] = []

    def searched(report, checkpoint: Memory) -> Experts:
        return search(base(), shown, embeddings(), config, costs_of(base()), report, checkpoint)

    whole = searched(lambda *told: curve.append(told), Memory())

    def stopped(done: int, figures: dict[str, float]) -> None:
        if done == stop + 1:
            raise KeyboardInterrupt

    memory, again = Memory(), list[tuple[int, dict[str, float]]]()
    with pytest.raises(KeyboardInterrupt):
        searched(stopped, memory)
    assert steps_of(memory.load()) == stop
    draws: list[int] = []
    draw = BatchStream.draw
    monkeypatch.setattr(BatchStream, "draw", lambda self, step, *rest: draws.append(step) or draw(self, step, *rest))
    found = searched(lambda *told: again.append(told), memory)
    assert draws == list(range(stop, 6))
    assert again == curve
    assert found.shares == whole.shares
    assert torch.equal(found.scores, whole.scores)
    assert all(torch.equal(found.router[name], whole.router[name]) for name in whole.router)
    other = Memory([State({"router/codes": torch.zeros(2, 3)}, {"told": []})])
    with pytest.raises(DataError, match="belongs to a different search"):
        searched(lambda *told: None, other)


def test_losses_are_lower_for_matching_inputs() -> None:
    read = torch.nn.functional.normalize(embeddings(16), dim=1)
    same_kind = losses.contrastive(read, read)
    assert same_kind < losses.contrastive(read[torch.randperm(16, generator=torch.Generator().manual_seed(0))], read)
    assert losses.resource(torch.tensor([0.5, 0.5]), torch.tensor(0.5)) == 0
    assert losses.resource(torch.tensor([0.25]), torch.tensor(0.5)) == pytest.approx(0.6931, abs=1e-3)
    near = torch.eye(4)
    assert losses.routing(near, near) < losses.routing(near, near.flip(0))


def test_losses_match_plain_python_implementations() -> None:
    """Pair by pair, in plain Python."""
    source = torch.Generator().manual_seed(2)
    ours, theirs = (torch.randn(5, width, generator=source, dtype=torch.float64) for width in (7, 3))

    def likeness(rows: list[list[float]]) -> list[list[float]]:
        """Of whom each row is the most alike, as shares."""
        cosines = [[sum(map(mul, a, b)) / math.hypot(*a) / math.hypot(*b) for b in rows] for a in rows]
        raised = [[math.exp(cosine / 0.03) for cosine in row] for row in cosines]
        return [[value / sum(row) for value in row] for row in raised]

    pairs = [
        (p, q)
        for row, target in zip(likeness(ours.tolist()), likeness(theirs.tolist()), strict=True)
        for p, q in zip(row, target, strict=True)
    ]
    slow = -sum(q * math.log(p) + (1 - q) * math.log(1 - p) for p, q in pairs) / len(pairs)
    assert float(losses.contrastive(ours, theirs)) == pytest.approx(slow, rel=1e-9)

    shares = torch.tensor([0.3, 0.6, 0.9], requires_grad=True)
    loss = losses.resource(shares, torch.tensor([0.6, 0.6, 0.5]))
    assert float(loss.detach()) == pytest.approx((math.log(2) + 0 + math.log(1.8)) / 3, rel=1e-5)
    loss.backward()
    assert shares.grad is not None
    assert shares.grad.tolist() == pytest.approx([-1 / 0.9, 0, 1 / 2.7], rel=1e-5)  # towards the budget

    similarity, assignment = torch.tensor([[0.3, 0.1], [-0.2, 0.4]]), torch.tensor([[0.9, 0.1], [0.5, 0.5]])
    log_odds = [math.log1p(math.exp(-2)), math.log1p(math.exp(6))]  # -log of the first code's share, at 0.1
    slow = 0.9 * log_odds[0] + 0.1 * (log_odds[0] + 2) + 0.5 * log_odds[1] + 0.5 * (log_odds[1] - 6)
    assert float(losses.routing(similarity, assignment)) == pytest.approx(slow / 2, rel=1e-5)


def test_contrastive_loss_pulls_architectures_of_similar_prompts_together() -> None:
    """However far apart these are: the share of the one in the other's row is e^-30 here."""
    read = torch.tensor([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0]])
    offsets = torch.tensor([[1.0, 0.0, 0.0], [0.1, 1.0, 0.0], [0.0, 0.0, 1.0]], requires_grad=True)

    def cosine(rows: torch.Tensor) -> float:
        return float(torch.cosine_similarity(rows[0], rows[1], dim=0))

    losses.contrastive(offsets, read).backward()
    assert offsets.grad is not None
    assert cosine(offsets.detach() - 0.01 * offsets.grad) > cosine(offsets.detach()) + 1e-3


def test_experts_are_read_back_exactly(searched: Experts, tmp_path: Path) -> None:
    searched.write(tmp_path)
    again = Experts.read(tmp_path)
    assert again.shares == searched.shares
    layout = Layout.of(base())
    assert torch.equal(again.route(layout, embeddings()), searched.route(layout, embeddings()))
    (tmp_path / "experts.json").write_text("{}")
    with pytest.raises(DataError, match="cannot be read"):
        Experts.read(tmp_path)


def test_pruning_takes_the_expert_with_the_requested_macs(searched: Experts) -> None:
    unet = base()
    for asked in (0.8, 0.55):
        small, architecture = prune(unet, asked, SIZE, LENGTH, searched)
        assert count_macs(small, SIZE, LENGTH) / count_macs(unet, SIZE, LENGTH) == pytest.approx(asked, abs=0.01)
        assert same(architecture.apply(unet), small)
    with pytest.raises(BudgetError, match=r"No expert has about 0\.20 .* request one of 0\.5"):
        prune(unet, 0.2, SIZE, LENGTH, searched)
    with pytest.raises(UsageError, match="Expert 8 does not exist: experts are numbered 0 to 7"):
        searched.expert(8)


def test_published_experts_load_as_sd21_architectures(tmp_path: Path) -> None:
    """The authors' form: 8 x 1,620 numbers, gates of 0 and 1, the quantizer beside them with what they are made of."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**SD21)
    costs = Costs.of(unet, 64, 77)
    gates = (torch.rand(8, 1620, generator=torch.Generator().manual_seed(0)) < 0.8).float()
    save_file({"vectors": gates}, tmp_path / "alone.safetensors")
    save_file({"embedding": gates * 9 - 4, "embedding_gs": gates}, tmp_path / "quantizer.safetensors")
    for name in ("alone.safetensors", "quantizer.safetensors"):
        found = published(tmp_path / name, costs)
        assert len(found.shares) == 8
        small = to_architecture(unet, found.expert(3)).apply(unet)
        assert found.shares[3] == pytest.approx(count_macs(small, 64, 77) / costs.whole, rel=1e-6)
        assert torch.equal(found.vector(3, 0.5, costs), found.expert(3))  # its own gates, whatever is asked
    with pytest.raises(UsageError, match="have no router"):
        found.route(costs.layout, embeddings())


def test_file_without_valid_architecture_vectors_is_refused(tmp_path: Path) -> None:
    costs = costs_of(base())
    save_file({"vectors": torch.ones(8, 1620)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match=r"has \d+ values, not 1620"):
        published(tmp_path / "other.safetensors", costs)
    (tmp_path / "torn.pt").write_bytes(b"PK nothing")
    save_file({"a": torch.ones(2, 3), "b": torch.ones(2, 3)}, tmp_path / "two.safetensors")
    for name in ("torn.pt", "missing.safetensors", "two.safetensors"):
        with pytest.raises(DataError, match="contains no architecture vectors"):
            published(tmp_path / name, costs)
    save_file({"embedding_gs": torch.ones(0, costs.layout.length)}, tmp_path / "empty.safetensors")
    with pytest.raises(DataError, match="contains no architecture vectors"):
        published(tmp_path / "empty.safetensors", costs)
    broken = torch.ones(2, costs.layout.length)
    broken[1, 5] = torch.nan
    save_file({"embedding_gs": broken}, tmp_path / "nan.safetensors")
    with pytest.raises(DataError, match=r"outside 0\.\.1"):
        published(tmp_path / "nan.safetensors", costs)
    save_file({"logits": torch.full((8, costs.layout.length), -2.0)}, tmp_path / "logits.safetensors")
    with pytest.raises(DataError, match=r"outside 0\.\.1"):
        published(tmp_path / "logits.safetensors", costs)


def test_missing_sentence_encoder_gives_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(UsageError, match="install the extra `aptp`"):
        sentence_transformer()

    class Refusing:
        def __init__(self, name: str, device: str) -> None:
            raise OSError(f"{name} is not a local folder.\nAnd much more.")

    library = ModuleType("sentence_transformers")
    library.SentenceTransformer = Refusing  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    with pytest.raises(UsageError, match=r"all-mpnet-base-v2' cannot be loaded \(.*is not a local folder\)") as error:
        sentence_transformer()
    assert "\n" not in str(error.value)


def test_text_tower_embeds_prompts_in_order() -> None:
    states = torch.randn(70, LENGTH, WIDTH, generator=torch.Generator().manual_seed(0))
    embed = text_tower(lambda texts: torch.stack([states[int(text)] for text in texts]))
    torch.testing.assert_close(embed([str(k) for k in range(70)]), states.mean(1))


def test_router_offsets_are_relative_to_the_mean_prompt() -> None:
    """What all prompts have in common says nothing: two opposite prompts have opposite offsets."""
    layout, mean = Layout.of(base()), torch.full((WIDTH,), 3.0)
    router = Router(layout, 4, WIDTH, mean, torch.Generator().manual_seed(0))
    one = torch.randn(WIDTH, generator=torch.Generator().manual_seed(1))
    offsets = router.offsets(router.read(torch.stack([mean + one, mean - one])))
    torch.testing.assert_close(offsets[0], -offsets[1])
    assert copy.deepcopy(router).state_dict().keys() == {"start", "codes", "predictor", "mean"}
