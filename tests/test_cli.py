"""The command line: quick commands avoid importing torch, and every user error is one sentence."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from record_examples import record, write
from typer.testing import CliRunner, Result

import benchmark.cost.workload  # noqa: F401  it takes names from the real benchmark.pipeline.run
from benchmark.api.request import Outcome, RunRequest, parse_budget, parse_budgets, parse_settings
from benchmark.cli.app import app
from benchmark.errors import BudgetError, TrainingError, UsageError

HEAVY = ("torch", "diffusers", "transformers", "open_clip", "torchmetrics", "matplotlib", "pyarrow")
RUN = ["run", "--method", "bilevel", "--suite", "artists"]


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def answer(result: Result) -> str:
    """Standard error of a command that must have failed in one sentence."""
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    return result.stderr


def but_for(words: list[str], option: str, value: str) -> list[str]:
    """The words with another value of an option, which may be new to them."""
    if option not in words:
        return [*words, option, value]
    place = words.index(option)
    return [*words[: place + 1], value, *words[place + 2 :]]


def fresh(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """`bench` in a new interpreter that prints, last of all, which heavy packages it has imported."""
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('heavy:', *[m for m in {HEAVY} if m in sys.modules], file=sys.stderr))\n"
        "from benchmark.cli import main\n"
        f"sys.argv = ['bench', *{list(arguments)}]\n"
        "main()\n"
    )
    environment = {**os.environ, "PALIMPSEST_HOME": str(home), "PYTHONWARNINGS": "ignore"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)


def test_ascii_terminal_gets_replacement_characters():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "benchmark", "list", "artists"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Salvador Dal?" in done.stdout


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[RunRequest]:
    """Stands in for the run itself; collects what it was asked for."""
    requests: list[RunRequest] = []

    def run(request: RunRequest, console: Any, tracker: Any = None) -> Outcome:
        requests.append(request)
        records = [record("bilevel", suite, images="images/bilevel") for suite in ("artists", "coco")]
        return Outcome(
            records,
            {"images": Path("runs/images"), "contact sheet": Path("runs/sheet.png"), "records": Path("runs/records")},
        )

    module = ModuleType("benchmark.pipeline.run")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "benchmark.pipeline.run", module)
    return requests


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(request: RunRequest, console: Any, tracker: Any = None) -> Outcome:
        raise error

    module = ModuleType("benchmark.pipeline.run")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "benchmark.pipeline.run", module)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "--help"], ["list", "methods"], ["list", "metrics"], ["list", "artists"], ["table"],
     ["table", "--long", "--paper", "--format", "json"], ["run", "--method", "bilevle", "--suite", "artists"],
     ["run", "--method", "bilevel", "--suite", "artists", "--targets", "Hokusay"]],
    ids=" ".join,
)  # fmt: skip
def test_quick_commands_avoid_heavy_imports(arguments: list[str], tmp_path: Path) -> None:
    write(tmp_path / "records", record("bilevel"), record("bilevel", "coco"))
    given = ["--records", str(tmp_path / "records")] if arguments[0] == "table" else []
    done = fresh(*arguments, *given, home=tmp_path)
    assert done.stderr.splitlines()[-1] == "heavy:", done.stderr
    assert done.returncode == (2 if "bilevle" in arguments or "Hokusay" in arguments else 0), done.stderr


def test_help_uses_at_most_400_ms_of_cpu_time(tmp_path: Path) -> None:
    def seconds() -> float:
        before = os.times()
        subprocess.run([sys.executable, "-m", "benchmark", "--help"], check=True, capture_output=True)
        after = os.times()
        # Processor time: the machine may be busy with something else.
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(seconds() for _ in range(3)) <= 0.4


@pytest.mark.parametrize(
    "command", [[], ["run"], ["table"], ["list"], ["testbed"], ["testbed", "build"], ["testbed", "check"]]
)
def test_help_shows_an_example_on_one_line(command: list[str]) -> None:
    result = bench(*command, "--help")
    assert result.exit_code == 0
    if command != ["testbed"]:
        assert re.search(rf"^ +bench {' '.join(command)}.*\S$", result.stdout, re.MULTILINE)


def test_request_carries_every_option(asked: list[RunRequest], tmp_path: Path) -> None:
    options = {
        "--testbed": "mini", "--pruning": "none", "--macs": "1.0", "--targets": "monet, Katsushika Hokusai",
        "--seed": "7", "--preset": "paper", "--budget": "350it", "--data": "all-but-targets", "--runs": str(tmp_path),
        "--device": "cpu",
    }  # fmt: skip
    flat = [word for pair in options.items() for word in pair]
    result = bench(*RUN, *flat, "--set", "solver=penalty", "--set", "upper_rate=1e-3")
    assert result.exit_code == 0, result.output
    assert asked == [
        RunRequest(
            method="bilevel", suite="artists", testbed="mini", pruning="none", macs=1.0, preset="paper",
            overrides={"solver": "penalty", "upper_rate": 0.001}, targets=("Claude Monet", "Katsushika Hokusai"),
            seed=7, budget="350it", data="all-but-targets", runs=tmp_path, device="cpu",
        )
    ]  # fmt: skip


def test_run_prints_its_table_row_and_image_paths(asked: list[RunRequest]) -> None:
    result = bench(*RUN)
    assert result.exit_code == 0, result.output
    assert all(figure in result.stdout for figure in ("26.28", "97.30", "39.04", "22.24", "29.19"))
    assert "runs/images" in result.stdout
    assert "runs/sheet.png" in result.stdout
    assert asked[0].targets == ()


def test_method_all_runs_every_method_and_refuses_settings_of_one(asked: list[RunRequest]) -> None:
    result = bench("run", "--method", "all", "--suite", "artists", "--seed", "2")
    assert result.exit_code == 0, result.output
    listed = [line.split()[0] for line in bench("list", "methods").stdout.splitlines()]
    assert sorted(request.method for request in asked) == sorted(name for name in listed if name != "distilled")
    stages = [request.method for request in asked if request.method in ("uce", "conceptprune", "esd", "esd+kd")]
    assert stages == ["uce", "conceptprune", "esd", "esd+kd"]  # the longest distillation first, for all others
    assert {request.seed for request in asked} == {2}
    for more in (["--set", "eta=2"], ["--preset", "paper"]):
        refused = bench("run", "--method", "all", "--suite", "artists", *more)
        assert refused.exit_code == 2
        assert "belong to a single method" in refused.stderr


def test_method_all_continues_after_a_failed_method(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run(request: RunRequest, console: Any, tracker: Any = None) -> Outcome:
        asked.append(request.method)
        if request.method in ("bilevel", "esd"):
            raise BudgetError("Too little.") if request.method == "esd" else TrainingError("NaN.")
        return Outcome([record(request.method)], {"images": Path("runs/images"), "records": Path("runs/records")})

    module = ModuleType("benchmark.pipeline.run")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "benchmark.pipeline.run", module)
    result = bench("run", "--method", "all", "--suite", "artists")
    assert result.exit_code == 2
    assert len(asked) == 6
    assert "conceptprune" in result.stdout
    assert result.stderr.splitlines()[-1].startswith("error: bilevel, esd failed, as printed above")


def test_runs_go_to_palimpsest_home(asked: list[RunRequest], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PALIMPSEST_HOME", str(tmp_path))
    assert bench(*RUN).exit_code == 0
    monkeypatch.delenv("PALIMPSEST_HOME")
    assert bench(*RUN).exit_code == 0
    assert [request.runs for request in asked] == [tmp_path, Path("runs")]


@pytest.mark.parametrize(
    ("option", "wrong", "right"),
    [("--method", "bilevle", "bilevel"), ("--suite", "artist", "artists"), ("--testbed", "minni", "mini"),
     ("--pruning", "magnitud", "magnitude"), ("--targets", "Claud Monet", "Claude Monet"),
     ("--targets", "Hokusay", "Katsushika Hokusai")],
)  # fmt: skip
def test_misspelt_name_gets_a_suggestion(asked: list[RunRequest], option: str, wrong: str, right: str) -> None:
    told = answer(bench(*but_for(RUN, option, wrong)))
    assert wrong in told
    assert f"Did you mean '{right}'?" in told
    assert not asked


@pytest.mark.parametrize(
    ("option", "wrong"),
    [("--macs", "1.5"), ("--macs", "0"), ("--seed", "-1"), ("--budget", "soon"), ("--budget", "0it"),
     ("--data", "everything"), ("--set", "solver"), ("--method", "no/such/file.py:Eraser")],
)  # fmt: skip
def test_invalid_option_value_is_refused_before_the_run(asked: list[RunRequest], option: str, wrong: str) -> None:
    assert wrong.removesuffix(":Eraser") in answer(bench(*but_for(RUN, option, wrong)))
    assert not asked


def test_errors_of_a_run_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, TrainingError("The loss of phase 'distil' is NaN at iteration 12."))
    assert answer(bench(*RUN)) == "error: The loss of phase 'distil' is NaN at iteration 12.\n"


def test_internal_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ZeroDivisionError("ours"))
    result = bench(*RUN)
    assert isinstance(result.exception, ZeroDivisionError)


def test_interrupted_run_explains_how_to_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, KeyboardInterrupt())
    result = bench(*RUN)
    assert result.exit_code == 130
    assert result.stderr.endswith("interrupted; run the same command again to resume\n")


@pytest.mark.parametrize("arguments", [["run"], ["tabel"], ["table", "--format", "xml"], ["run", "--seed", "x"]])
def test_usage_errors_exit_with_code_2(arguments: list[str]) -> None:
    assert "--help` " in answer(bench(*arguments))


def test_table_without_records_names_the_command_that_creates_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.tables.select.RESULTS", tmp_path)
    assert "bench run --method bilevel --suite artists" in answer(bench("table", "--runs", str(tmp_path)))


def test_table_prints_the_rows_of_its_records(tmp_path: Path) -> None:
    write(tmp_path / "records", record("bilevel", seed=5), record("bilevel", "coco", seed=5))
    result = bench("table", "1", "--format", "json", "--records", str(tmp_path / "records"))
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [(row["method"], row["seed"], len(row["cells"])) for row in told["rows"]] == [("bilevel", 5, 5)]


def test_table_without_records_or_with_unknown_number_is_refused() -> None:
    told = answer(bench("table", "2", "--testbed", "sd21"))
    assert "no records of mma" in told
    assert "--suite mma --testbed sd21`" in told
    assert "Table 7 does not exist" in answer(bench("table", "7"))


def test_record_of_a_newer_schema_gives_one_sentence(tmp_path: Path) -> None:
    write(tmp_path, record("bilevel"))
    path = next(tmp_path.glob("*.record.json"))
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "schema_version": 99}), "utf-8")
    assert "schema 99" in answer(bench("table", "--records", str(tmp_path)))


def test_run_that_would_replace_a_record_of_a_newer_schema_is_refused(tmp_path: Path, monkeypatch) -> None:
    write(tmp_path / "records", record("bilevel"))
    path = next((tmp_path / "records").glob("*.record.json"))
    newer = json.dumps({**json.loads(path.read_text("utf-8")), "schema_version": 99})
    path.write_text(newer, "utf-8")
    monkeypatch.setattr("benchmark.pipeline.setup.workbench_for", lambda *given: pytest.fail("work has begun"))
    told = answer(bench("run", "--method", "bilevel", "--suite", "coco", "--runs", str(tmp_path)))
    assert "schema 99" in told
    assert path.read_text("utf-8") == newer


def test_lists_explain_every_name() -> None:
    for kind in ("methods", "suites", "testbeds", "metrics", "prunings", "artists"):
        result = bench("list", kind)
        assert result.exit_code == 0, result.output
        for line in result.stdout.splitlines():
            name, explained = re.split(r"\s{2,}", line, maxsplit=1)
            assert name
            assert len(explained) > 8
            assert "cannot be read" not in explained, line
    assert "Mary Cassatt" in result.stdout
    assert "close to Claude Monet" in result.stdout


def test_misspelt_list_kind_gets_a_suggestion() -> None:
    assert "Did you mean 'methods'?" in answer(bench("list", "method"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["table", "--records", "{}/some"],
        ["run", "--method", "{}/mine.py:Mine", "--suite", "coco"],
    ],
    ids=["records", "method"],
)
def test_folder_without_permission_gives_one_sentence(arguments: list[str], tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    (locked / "records").mkdir(parents=True)
    was_root = os.geteuid() == 0
    if was_root:  # mode bits do not hold root back
        for parent in list(tmp_path.parents)[:-2]:
            parent.chmod(parent.stat().st_mode | 0o011)
        tmp_path.chmod(0o755)
    locked.chmod(0)
    try:
        if was_root:
            os.seteuid(65534)
        said = answer(bench(*(word.format(locked) for word in arguments)))
    finally:
        if was_root:
            os.seteuid(0)
        locked.chmod(0o755)
    assert str(locked) in said


def test_testbed_commands_call_the_modules_of_the_testbed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[tuple] = []
    for verb in ("build", "check"):
        name = f"benchmark.testbeds.mini.{verb}"
        module = ModuleType(name)
        setattr(module, verb, lambda out, console, *rest, verb=verb: calls.append((verb, out, *rest)))
        monkeypatch.setitem(sys.modules, name, module)
    assert bench("testbed", "build", "mini", "--out", str(tmp_path), "--only", "vae, unet").exit_code == 0
    assert bench("testbed", "check", "mini", "--out", str(tmp_path), "--device", "cuda:1").exit_code == 0
    assert calls == [("build", tmp_path, ("vae", "unet"), "cpu"), ("check", tmp_path, None, "cuda:1")]
    assert "Did you mean 'mini'?" in answer(bench("testbed", "build", "minni"))
    mine = tmp_path / "mine.toml"
    mine.write_text('like = "sd21"\n')
    assert "Testbed 'mine' has no `bench testbed build`" in answer(bench("testbed", "build", str(mine)))
    monkeypatch.setattr("benchmark.experiments.prebuild_mini.prebuild", lambda out, console: calls.append((out,)))
    assert bench("testbed", "prebuild", "mini", "--runs", str(tmp_path)).exit_code == 0
    assert calls[-1] == (tmp_path,)
    assert "Testbed 'sd21' has no `bench testbed prebuild`" in answer(bench("testbed", "prebuild", "sd21"))


@pytest.mark.parametrize(
    ("text", "figure"),
    [
        ("default", None),
        ("1e15", ("flops", 1e15)),
        ("2.5E+12", ("flops", 2.5e12)),
        ("350it", ("iterations", 350)),
        ("2h", ("seconds", 7200)),
        ("1.5 min", ("seconds", 90)),
    ],
)
def test_budget_text_is_parsed_with_its_unit(text: str, figure: tuple | None) -> None:
    assert parse_budget(text) == figure


@pytest.mark.parametrize("text", ["", "it", "-5", "nan", "inf", "1e", "3.5it", "0", "0it", "h", "0h", "1d"])
def test_invalid_budget_is_refused(text: str) -> None:
    with pytest.raises(BudgetError, match="350it"):
        parse_budget(text)


def test_several_budgets_are_sorted_and_deduplicated():
    assert parse_budgets("20it, 360it,60it,20it") == ["360it", "60it", "20it"]
    assert parse_budgets("30min,2h") == ["2h", "30min"]
    assert parse_budgets("default") == ["default"]
    for told in ("20it,1e12", "default,20it"):
        with pytest.raises(BudgetError, match="mixes units: give all budgets"):
            parse_budgets(told)


def test_settings_keep_their_types() -> None:
    pairs = ["a=1", "b=1e-3", "c=true", "d=null", "e=penalty", "f=[1, 2]", "g=x=y", 'h=""']
    assert parse_settings(pairs) == {
        "a": 1, "b": 0.001, "c": True, "d": None, "e": "penalty", "f": [1, 2], "g": "x=y", "h": "",
    }  # fmt: skip
    for empty in ("h=", "h= "):
        with pytest.raises(UsageError, match="--set h is empty"):
            parse_settings([empty])
    with pytest.raises(UsageError, match="twice"):
        parse_settings(["a=1", "a=2"])
