"""Invalid environment variables of a launcher are refused before anything is loaded."""

import os
import subprocess
from pathlib import Path

import pytest
from test_cli import answer, bench

from benchmark import launcher
from benchmark.api.request import RunRequest
from benchmark.errors import UsageError

ROOT = Path(__file__).parents[1]
RUN = ("run", "--method", "uce", "--suite", "artists")


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"RANK": "0", "WORLD_SIZE": "abc"}, "WORLD_SIZE is 'abc', and should be a whole number of at least 1: unset"),
        ({"RANK": "-1", "WORLD_SIZE": "2"}, "RANK is '-1', and should be a whole number of at least 0"),
        ({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "x"}, "LOCAL_RANK is 'x'"),
        ({"RANK": "0", "WORLD_SIZE": "2", "MASTER_PORT": "x"}, "MASTER_PORT is 'x'"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK is 2, which must be less than WORLD_SIZE, 2: unset both"),
    ],
    ids=str,
)
@pytest.mark.parametrize("words", [RUN, ("table",)], ids=["run", "table"])
def test_invalid_launcher_variables_are_refused(words, variables, sentence, monkeypatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    result = bench(*words)
    assert (result.exit_code, sentence in result.stderr) == (2, True), result.output


@pytest.mark.parametrize(
    "variables",
    [{"WORLD_SIZE": "abc"}, {"WORLD_SIZE": "8"}, {"RANK": "1"}, {"RANK": "x"}, {"LOCAL_RANK": "y"}],
    ids=str,
)
def test_single_launcher_variable_is_ignored(variables, warm_python, monkeypatch, tmp_path) -> None:
    code = (
        "from pathlib import Path; from accelerate import PartialState; from benchmark import launcher; "
        "from benchmark.api.request import RunRequest; from benchmark.console import Progress; "
        "from benchmark.pipeline.setup import workbench_for; "
        f"home = Path({str(tmp_path)!r}); "
        "workbench_for(RunRequest('uce', 'artists', runs=home, device='cpu'), home, Progress()); "
        "print(PartialState().num_processes, launcher.is_first())"
    )
    for variable in (*launcher.VARIABLES, "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(variable, raising=False)
    environment = {**os.environ, **variables}
    done = subprocess.run(
        [warm_python, "-c", code], capture_output=True, text=True, env=environment, timeout=120, cwd=ROOT
    )
    assert done.stdout == "1 True\n", done.stderr


def test_missing_master_address_is_refused(monkeypatch, tmp_path) -> None:
    from benchmark.console import Progress
    from benchmark.pipeline.setup import workbench_for

    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(UsageError, match="MASTER_ADDR is not, so the processes cannot connect"):
        workbench_for(RunRequest("uce", "artists", runs=tmp_path), tmp_path, Progress())


@pytest.mark.parametrize("budget", ["9it,8it", "1h,2h"])
def test_eval_with_several_budgets_is_refused(budget: str) -> None:
    words = ["eval", "--checkpoint", "x", "--suite", "artists", "--budget", budget]
    assert "lists several budgets, and the reference has one: give only one." in answer(bench(*words))
