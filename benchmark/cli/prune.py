"""`bench prune`: searches APTP's experts (pruned U-Nets), routes a prompt to one, and reads published ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.checked_command import CheckedCommand
from benchmark.cli.options import Runs, Testbed, check_plugin
from benchmark.errors import UsageError
from benchmark.store import outputs
from benchmark.store.paths import home

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from benchmark.api.testbed import Workbench
    from methods.pruning.aptp.experts import Experts
    from methods.pruning.aptp.search import Search


prune_app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, add_completion=False)

Number = Annotated[int, typer.Option("--experts", help="Number of experts to search.", min=1, max=64)]
Macs = Annotated[float, typer.Option(help="Fraction of the base U-Net's MACs that the experts use on average.")]
Steps = Annotated[int, typer.Option(help="Training steps of the search.", min=1)]
Seed = Annotated[int, typer.Option(help="Random seed of the search.", min=0)]


@prune_app.callback()
def prune() -> None:
    """Search for pruned U-Nets with APTP, or read published ones.

    APTP (prompt-tailored pruning) searches several pruned U-Nets, called experts, and a router that sends each prompt
    to one of them.
    """


@prune_app.command(cls=CheckedCommand)
def aptp(
    experts: Number = 8,
    macs: Macs = 0.6,
    steps: Steps = 600,
    seed: Seed = 0,
    testbed: Testbed = "mini",
    runs: Runs = None,
) -> None:
    """Search experts and the router that sends prompts to them.

    The search learns the experts' gates, their codes and the router; the U-Net's weights do not change. The command
    prints each expert's MACs, and the captions of suite coco that are routed to it.

    `bench run --pruning aptp --macs 0.8` uses the expert of the default search whose MACs are nearest.

    \b
    Examples:
      bench prune aptp
      bench prune aptp --experts 4 --macs 0.7 --steps 100
    """
    bench, expert_set, search = _searched(testbed, runs, experts, macs, steps, seed)
    from benchmark.figures.aptp_routing import routing
    from benchmark.models.prunings import embed, prompts_of
    from methods.pruning.vector import Layout

    _print(bench, expert_set, prompts_of(bench, search))
    captions = [prompt.text for prompt in bench.testbed.prompts("coco", bench.testbed.concept(()))]
    caption_experts = expert_set.route(Layout.of(bench.testbed.base()), embed(bench)(captions)).tolist()
    print("\nCaptions of suite coco, by the expert that they are routed to:\n")
    print("\n".join(routing(captions, caption_experts, expert_set.shares)))


@prune_app.command(cls=CheckedCommand)
def route(
    prompt: Annotated[str, typer.Argument(help="Prompt to route.")],
    experts: Number = 8,
    macs: Macs = 0.6,
    steps: Steps = 600,
    seed: Seed = 0,
    testbed: Testbed = "mini",
    runs: Runs = None,
) -> None:
    """Print the expert that a prompt is routed to, and its MACs.

    The experts are searched first if these options were not searched before.

    \b
    Example:
      bench prune route "a boat by Claude Monet"
    """
    if not prompt.strip():
        raise UsageError("The prompt is empty: give a prompt to route.")
    bench, expert_set, _ = _searched(testbed, runs, experts, macs, steps, seed)
    from benchmark.models.prunings import embed
    from methods.pruning.vector import Layout

    number = int(expert_set.route(Layout.of(bench.testbed.base()), embed(bench)([prompt])))
    print(f"expert {number}  {expert_set.shares[number]:.1%} of MACs")


@prune_app.command(cls=CheckedCommand)
def published(
    file: Annotated[Path, typer.Argument(help="File of APTP's quantizer (.safetensors), which holds the vectors.")],
    testbed: Testbed = "mini",
    expert: Annotated[
        int | None, typer.Option(help="Number of one expert: print only this one, and which blocks it keeps or drops.")
    ] = None,
) -> None:
    """Read architecture vectors that APTP's authors published.

    The command prints the MACs of each vector's pruned U-Net on a testbed, as counted here and as APTP's authors count
    them.

    With `experts = "FILE"` in a testbed file, `bench run --pruning aptp` uses these experts.

    \b
    Example:
      bench prune published quantizer/diffusion_pytorch_model.safetensors
    """
    check_plugin("testbeds", testbed)
    from methods.pruning.aptp.experts import published as read_experts
    from methods.pruning.aptp.experts import read_gates
    from methods.pruning.costs import Costs

    read_gates(file)  # refuses a wrong file before the base model, which may have gigabytes, is loaded
    bench = _bench(testbed, None)
    costs = Costs.of(bench.testbed.base(), bench.testbed.sampler.latent_size, bench.testbed.text_length)
    expert_set = read_experts(file, costs)
    if expert is None:
        _print(bench, expert_set, [], _as_published(bench.testbed.base(), expert_set))
        return
    _, depths = costs.layout.split(expert_set.expert(expert))
    print(f"expert {expert}  {expert_set.shares[expert]:.1%} of MACs")
    for name, is_kept in depths.items():
        print(f"  {'keeps' if is_kept else 'drops'} {name}")


def _searched(
    testbed: str, runs: Path | None, experts: int, macs: float, steps: int, seed: int
) -> tuple[Workbench, Experts, Search]:
    check_plugin("testbeds", testbed)
    from benchmark.api.request import check_macs

    check_macs(macs)
    outputs.check_folder(runs or home(), "--runs")
    from benchmark.models.prunings import experts as search_experts
    from methods.pruning.aptp.search import Search

    bench, search = _bench(testbed, runs), Search(experts=experts, macs=macs, steps=steps, seed=seed)
    with bench.progress:
        return bench, search_experts(bench, search), search


def _bench(testbed: str, runs: Path | None) -> Workbench:
    from benchmark.api.request import Runtime
    from benchmark.console import Progress
    from benchmark.pipeline.setup import workbench_for

    runs_folder = runs or home()
    return workbench_for(Runtime(testbed, runs_folder), runs_folder, Progress())


def _as_published(base: UNet2DConditionModel, expert_set: Experts) -> list[float]:
    """Return each expert's fraction of the base's MACs, counted as APTP's authors count them."""
    import torch

    from methods.pruning.macs import published_macs
    from methods.pruning.vector import to_architecture

    with torch.device("meta"):  # counting needs only shapes
        unet: Any = type(base).from_config(dict(base.config))
    base_macs = published_macs(unet)
    return [published_macs(to_architecture(unet, vector).apply(unet)) / base_macs for vector in expert_set.scores]


def _print(bench: Workbench, expert_set: Experts, prompt_counts: list[int], published: Sequence[float] = ()) -> None:
    """Print one line per expert: its fraction of MACs, its prompts in the search, and the blocks that it drops."""
    from methods.pruning.costs import Costs

    costs = Costs.of(bench.testbed.base(), bench.testbed.sampler.latent_size, bench.testbed.text_length)
    for number, share in enumerate(expert_set.shares):
        _, depths = costs.layout.split(expert_set.vector(number, share, costs))
        dropped = sum(1 for is_kept in depths.values() if not is_kept)
        prompts_note = f"  {prompt_counts[number]} of {sum(prompt_counts)} prompts" if prompt_counts else ""
        published_note = f" ({published[number]:.1%} as published)" if published else ""
        notes = f"{published_note}{prompts_note}  {dropped} of {len(depths)} blocks dropped"
        print(f"expert {number}  {share:.1%} of MACs{notes}")
