"""Error messages and estimates give advice that can be followed and that fits the command."""

import re
import shlex
from pathlib import Path

import pytest
from record_examples import record, write
from test_cli import answer, bench
from tiny import tiny_unet  # noqa: F401  # torch is loaded once, before the first command

from benchmark import registry
from benchmark.api.request import Outcome, RunRequest
from benchmark.cost import estimate as estimates
from benchmark.cost.devices import named
from benchmark.cost.estimate import Speeds, estimate
from benchmark.errors import DataError, UsageError
from benchmark.pipeline import run_cache
from benchmark.testbeds.stable_diffusion.definition import read
from methods.base import configure
from prompts.public import examine
from prompts.sources import source

H100 = Speeds.of_device(named("h100"))


def test_misspelt_setting_suggests_the_right_one_alone() -> None:
    bilevel = registry.load("methods", "bilevel")
    with pytest.raises(UsageError, match=r"^Unknown bilevel setting 'lower_rat'\. Did you mean 'lower_rate'\?$"):
        configure(bilevel, lower_rat=1)
    with pytest.raises(UsageError, match=r"^Unknown bilevel setting 'zzz'\. Available: batch, lower_rate, "):
        configure(bilevel, zzz=1)
    with pytest.raises(UsageError, match=r"^Unknown bilevel preset 'papr'\. Did you mean 'paper'\?"):
        configure(bilevel, "papr")
    with pytest.raises(
        UsageError, match=r"^Method 'bilevel', setting 'batch': Input should be a valid integer[^.]*\.$"
    ):
        configure(bilevel, batch="many")


def test_misspelt_field_of_a_testbed_file_suggests_the_right_one_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('like = "sd21"\nguidence = 3\n')
    with pytest.raises(DataError) as caught:
        read(tmp_path / "mine.toml")
    assert str(caught.value).endswith("Did you mean 'guidance'? sd21.toml says what can be set.")


@pytest.mark.parametrize("budget", ["20it,20it", "20it, 60it", "60it"])
def test_an_estimate_takes_the_budgets_that_a_run_takes(budget: str) -> None:
    result = bench("estimate", "--method", "uce", "--suite", "artists", "--on", "H100", "--budget", budget)
    assert result.exit_code == 0, result.output
    blocks = re.findall(r"^uce with budget (\d+it), including", result.stdout, re.MULTILINE)
    assert blocks == (["60it", "20it"] if "60it" in budget and "20it" in budget else [])
    assert result.stdout.count("Assumed: ") == max(1, len(blocks))


def test_table_without_rows_advises_the_run_with_the_same_options(tmp_path: Path) -> None:
    path = tmp_path / "my testbed.toml"
    path.write_text('like = "sd21"\nname = "mine"\n')
    options = ["--targets", "Piet Mondrian", "--pruning", "taylor"]
    assert f"--suite artists --pruning taylor --targets {shlex.quote('Piet Mondrian')}`" in answer(
        bench("table", *options)
    )
    for words in (["table"], ["table", "2"], ["table", "3"], ["figure", "7"], ["figure", "tradeoff"]):
        told = answer(bench(*words, "--testbed", str(path)))
        assert f"--testbed {shlex.quote(str(path))}`" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prompt;evaluation_seed;artist\na, b;1;x\n", "row 1: its columns are separated by semicolons: save the file"),
        ('prompt\tevaluation_seed\tartist\r\n"a\nb\t1\tx\n', "row 1: its columns are separated by tabs: save the file"),
        ("prompt,seed,artist\na,1,x\n", "columns: evaluation_seed; it is not artists, or its header is missing."),
        ("prompt\na;b\n", "missing columns: evaluation_seed, artists; is it ring-a-bell?"),
    ],
)  # fmt: skip
def test_wrong_prompt_file_is_diagnosed_by_its_columns(text: str, told: str) -> None:
    report = examine(text.encode(), source("artists"), Path("mine.csv"))
    assert told in report.errors[0]


def test_estimate_reports_what_the_store_already_holds(tmp_path: Path, monkeypatch) -> None:
    asked = RunRequest("bilevel", "artists", runs=tmp_path)
    assert "nothing is in the store yet" in estimate(asked, H100).assumed
    targets = ["Vincent van Gogh", "Claude Monet", "Pablo Picasso"]
    recipe = registry.load("methods", "bilevel").recipe
    concept = {"kind": "style", "targets": targets}
    budget = {"flops": 2.2e13, "default": True}
    write(tmp_path / "records", record("bilevel", concept=concept, recipe=recipe, budget=budget))
    clause = f"{tmp_path / 'records'} has records of bilevel with these settings: their stored results will be reused"
    assert clause in estimate(asked, H100).assumed
    for other in (RunRequest("bilevel", "artists", runs=tmp_path, seed=1),
                  RunRequest("bilevel", "artists", runs=tmp_path, overrides={"eta": 2.0}),
                  RunRequest("bilevel", "artists", runs=tmp_path, budget="9it"),
                  RunRequest("bilevel", "artists", runs=tmp_path, targets=("Piet Mondrian",))):  # fmt: skip
        assert "nothing is in the store yet" in estimate(other, H100).assumed
    monkeypatch.setattr(run_cache, "find", lambda request: Outcome([], {}))
    clause = "the whole result is in the store: `bench run` returns it at once"
    assert estimate(asked, H100).assumed[1].startswith(clause)
    assert estimates.in_store(asked, estimates.read_facts(asked), 1.0)


def test_empty_checkpoint_option_is_refused() -> None:
    told = answer(bench("eval", "--checkpoint", "", "--suite", "artists"))
    assert told == "error: --checkpoint is empty: give it a value, or leave it out (is a shell variable unset?).\n"
