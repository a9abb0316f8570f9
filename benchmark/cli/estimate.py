"""`bench estimate`: estimates time, memory and disk of a run before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.run_options import RunOptions, takes_run_options
from benchmark.errors import UsageError

if TYPE_CHECKING:
    from benchmark.api.request import RunRequest
    from benchmark.cost.estimate import Speeds


@takes_run_options
def estimate(
    options: RunOptions,
    on: Annotated[
        str, typer.Option(help="Device to estimate for: a GPU such as H100, or cpu.", show_default="this machine's")
    ] = "",
    rehearsal: Annotated[
        Path | None,
        typer.Option("--from", help="File that `bench rehearse --out` wrote: use the speeds that it measured."),
    ] = None,
) -> None:
    """Estimate time, memory and disk of a run before starting it.

    It takes all options of `bench run` and prints one line per stage. FLOPs are counted. Hours follow from an assumed
    speed of the device (--on), or from speeds that `bench rehearse` measured (--from). All assumptions are listed below
    the table. Nothing is loaded or downloaded.

    \b
    Examples:
      bench estimate --method bilevel --suite artists --testbed sd21 --on H100
      bench estimate --method bilevel --suite artists --testbed sd21 --budget 20000it
      bench estimate --method all --suite artists --budget 60it,350it
      bench estimate --method esd --suite artists --testbed sd21 --from rehearsal.json
    """
    if on and rehearsal:
        raise UsageError("--on and --from both set the speed: give only one of them.")
    requests = options.requests()
    from benchmark.cost import devices
    from benchmark.cost.estimate import Speeds
    from benchmark.cost.testbed_facts import precision_of

    device = devices.named(on) if on else devices.here(options.device)[0]
    speeds = Speeds.of_rehearsal(rehearsal) if rehearsal else Speeds.of_device(device, precision_of(requests[0]))
    for request in requests:
        if len(requests) > 1:
            print(f"{request.method} with budget {request.budget}, including the models that it starts from:")
        _print(request, speeds)


def _print(request: RunRequest, speeds: Speeds) -> None:
    from benchmark.cost.estimate import estimate as estimate_run

    costs = estimate_run(request, speeds)
    print(f"{'':28} {'':15} {'FLOPs':>9} {speeds.unit:>10} {'memory':>9} {'disk':>9}")
    for row in costs.rows:
        piece = row.piece
        print(_line(piece.what, f"{piece.count:,} {piece.unit}", piece.flops, row.seconds, piece.memory, piece.disk))
    print(_line("total", "", costs.flops, 3600 * costs.hours, costs.memory, costs.disk))
    capacity = f"{speeds.source.partition(':')[0]} has {speeds.memory / 1e9:.0f} GB of memory"
    if costs.least > speeds.memory:
        print(f"It does not fit: {capacity}, and one image at a time takes {costs.least / 1e9:.0f} GB.")
    elif costs.memory > speeds.memory:
        print(f"{capacity}: larger batches are split until they fit.")
    print("Assumed: " + ";\n         ".join(costs.assumed) + ".")


def _line(what: str, count: str, flops: float, seconds: float, memory: float, disk: float) -> str:
    from benchmark.cost.estimate import figure
    from benchmark.store.paths import size

    memory_text, disk_text = (size(round(count)) if count else "" for count in (memory, disk))
    return f"{what:28} {count:>15} {flops:9.3g} {figure(seconds / 3600):>10} {memory_text:>9} {disk_text:>9}".rstrip()
