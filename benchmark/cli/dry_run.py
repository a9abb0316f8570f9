"""`bench run --dry-run`: prints the steps of runs, with hours and disk of what is to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmark import launcher
from benchmark.errors import BudgetError, TrainingError, UsageError
from benchmark.store.paths import size

if TYPE_CHECKING:
    from benchmark.api.request import RunRequest


def print_steps(requests: Sequence[RunRequest]) -> None:
    """Check runs and print a table of steps for each.

    As in a real command, a budget that is too small for one of several methods does not refuse the others.

    Raises:
        PalimpsestError: a run would be refused.
    """
    if launcher.processes() > 1:
        raise UsageError("--dry-run runs in one process: call it without the launcher.")
    from benchmark.console import Progress
    from benchmark.cost.estimate import figure
    from benchmark.cost.remaining import preview

    planned: set[str] = set()
    notes: dict[str, None] = {}
    hours: float | None = 0.0
    disk = 0.0
    rows: list[tuple[str, str, str, str]] = []
    failed = 0
    with Progress() as progress:
        for request in requests:
            if len(requests) > 1:
                rows.append((f"{request.method}, budget {request.budget}:", "", "", ""))
            try:
                result = preview(request, progress, planned)
            except (BudgetError, TrainingError) as error:
                if len(requests) == 1:
                    raise
                failed += 1
                rows.append(("  cannot run", str(error), "", ""))
                continue
            notes |= dict.fromkeys(result.notes)
            for step in result.steps:
                step_hours = "" if not step.left else "?" if step.hours is None else figure(step.hours)
                step_disk = size(round(step.disk)) if step.disk else ""
                rows.append((f"  {step.what}", step.status, step_hours, step_disk))
            hours = None if hours is None or result.hours is None else hours + result.hours
            disk += result.disk
    if failed == len(requests):
        raise TrainingError("No method can run: " + rows[-1][1])
    rows.append(("total to do", "", "?" if hours is None else figure(hours), size(round(disk))))
    width = max(len(what) for what, _, _, _ in rows)
    status_width = max(len(status) for _, status, step_hours, _ in rows if step_hours or not status)
    status_width = max([status_width, *(len(status) for what, status, _, _ in rows if what != "  cannot run")])
    print(f"{'':{width}}  {'':{status_width}} {'hours':>9} {'disk':>9}")
    for what, status, step_hours, step_disk in rows:
        print(f"{what:{width}}  {status:{status_width}} {step_hours:>9} {step_disk:>9}".rstrip())
    print("Assumed: " + ";\n         ".join(notes) + ".")
    print(f"Nothing was written into {requests[0].runs}.")
