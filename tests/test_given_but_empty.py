"""Empty options, fields and names are refused in one sentence instead of standing for a default."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_cli import answer, bench
from typer.main import get_command

from benchmark.api.request import RunRequest
from benchmark.cli.app import VARIABLES, app
from benchmark.cli.campaign import _check
from benchmark.errors import DataError, UsageError
from benchmark.experiments.campaign import read_plan
from benchmark.pipeline import run, run_cache
from benchmark.testbeds.stable_diffusion.definition import Definition, Networks, read

ROOT = Path(__file__).parents[1]
RUN = ["run", "--method", "bilevel", "--suite", "artists"]
ESTIMATE = ["estimate", "--method", "bilevel", "--suite", "artists"]


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that call it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name), command


def parameters() -> list[tuple[tuple[str, ...], Any, Any]]:
    """(words, command, parameter) of all options and arguments that take a value."""
    return [
        (words, command, parameter)
        for words, command in commands(get_command(app))
        for parameter in command.params
        if not getattr(parameter, "is_flag", False)
    ]


@pytest.mark.parametrize("empty", ["", "  "], ids=["empty", "blank"])
@pytest.mark.parametrize(
    ("words", "command", "parameter"),
    [pytest.param(*each, id=" ".join((*each[0], each[2].name))) for each in parameters()],
)
def test_every_empty_option_or_argument_is_refused(words, command, parameter, empty) -> None:
    others = [one for one in command.params if one.param_type_name == "argument" and one is not parameter]
    arguments = [empty if one is parameter else "1" for one in command.params if one in [*others, parameter]]
    if parameter.param_type_name == "argument":
        told = answer(bench(*words, *arguments))
        assert f"argument {parameter.name.upper()} is empty" in told
    else:
        option = max(parameter.opts, key=len)
        told = answer(bench(*words, option, empty, *["1"] * len(others)))
        assert f"{option} is empty" in told


def test_parameters_include_those_of_nested_commands() -> None:
    seen = {(*words, parameter.name) for words, _, parameter in parameters()}
    assert {
        ("run", "targets"),
        ("table", "records"),
        ("prune", "route", "prompt"),
        ("testbed", "check", "weights"),
    } <= seen
    assert len(seen) > 100


@pytest.mark.parametrize("variable", VARIABLES)
def test_empty_environment_variable_is_refused(variable: str, monkeypatch) -> None:
    monkeypatch.setenv(variable, " ")
    assert f"{variable} is set but empty" in answer(bench("table"))


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["table", "--runs", "{}/nope"], "--runs"),
        (["table", "--runs", "{}/file"], "--runs"),
        (["table", "--runs", "{}"], "--runs"),  # nothing was run there
        (["compare", "bilevel", "esd", "--runs", "{}/nope"], "--runs"),
        (["figure", "tradeoff", "--runs", "{}/nope"], "--runs"),
        (["study", "init", "--only-figure", "--runs", "{}/nope"], "--runs"),
        (["clean", "--explicit", "--runs", "{}/nope"], "--runs"),
        (["prompts", "list", "--runs", "{}/nope"], "--runs"),
        (["doctor", "--runs", "{}/file"], "--runs"),
        ([*ESTIMATE, "--runs", "{}/file"], "--runs"),
        ([*RUN, "--targets", "Claude Monet,"], "--targets"),
        ([*RUN, "--targets", ","], "--targets"),
        (["table", "--columns", "cp,,fid"], "--columns"),
        (["study", "init", "--prunings", ",aptp"], "--prunings"),
        (["testbed", "build", "mini", "--only", "vae,"], "--only"),
        ([*RUN, "--set", "eta="], "--set"),
        ([*RUN, "--budget", "20it,"], "--budget"),
        (["list", "methods", "--testbed", "nope"], "nope"),
        (["list", "methods", "--testbed", "mini"], "--testbed"),
        (["compare", "bilevel", "bilevel"], "'bilevel'"),
        ([*ESTIMATE, "--pruning", "none", "--macs", "0.5"], "--macs"),
        ([*RUN, "--pruning", "none", "--macs", "0.5"], "--macs"),
        (["table", "--threshold", "0.6"], "--threshold"),
        (["table", "--label", "face"], "--label"),
        (["table", "2", "--targets", "Claude Monet"], "--targets"),
        (["table", "3", "--suite", "coco"], "--suite"),
        (["figure", "7", "--all"], "--all"),
        (["eval", "--checkpoint", "x", "--suite", "artists", "--reference", "base", "--budget", "9it"], "--budget"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_option_that_names_nothing_or_has_no_effect_is_refused(arguments, option, tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    assert option in answer(bench(*(word.format(tmp_path) for word in arguments)))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_missing_runs_folder_in_palimpsest_home_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PALIMPSEST_HOME", str(tmp_path / "nope"))
    assert "PALIMPSEST_HOME" in answer(bench("table"))
    assert bench("table", "--records", str(ROOT / "results" / "mini" / "records")).exit_code == 0
    monkeypatch.setenv("PALIMPSEST_HOME", "~no-such-user/runs")
    assert "PALIMPSEST_HOME=~no-such-user/runs is not the name of a folder" in answer(bench("table"))


def test_unavailable_device_is_refused_even_for_a_finished_run(tmp_path, monkeypatch) -> None:
    answered = object()
    monkeypatch.setattr(run_cache, "find", lambda request: answered)
    request = RunRequest("bilevel", "artists", runs=tmp_path)
    from benchmark.console import Progress

    with Progress() as progress:
        assert run.run(request, progress) is answered
        with pytest.raises(UsageError, match=r"--device nonsense cannot be used on this machine"):
            run.run(RunRequest("bilevel", "artists", runs=tmp_path, device="nonsense"), progress)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('--method uce --suite artists --targets ""', "an option is empty"),
        ("--method uce --suite artists --targets=", "an option is empty"),
        ("--method uce --suite artists --targets ' '", "--targets is empty"),
        ("--method uce --suite artists --seed", "line 2: "),
        ("--method uce --suite artists --sed 1", "No such option"),
        ("--method uce --suite artists --macs 7", "--macs must be a share"),
        ("--method ucee --suite artists", "Did you mean 'uce'?"),
        ("--method uce --suite artists --targets Monett", "Did you mean 'Claude Monet'?"),
    ],
)
def test_wrong_line_of_a_campaign_is_refused_before_the_first_run(line, told, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("benchmark.experiments.campaign.subprocess.run", lambda *_, **__: pytest.fail("it has begun"))
    (tmp_path / "plan.txt").write_text(f"--method uce --suite artists\n{line}\n")
    found = answer(bench("campaign", str(tmp_path / "plan.txt"), "--runs", str(tmp_path / "runs")))
    assert told in found
    assert "plan.txt, line 2: " in found


def test_committed_campaigns_are_accepted(monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    command: Any = get_command(app)
    plans = sorted((ROOT / "results").rglob("*.txt"))
    assert {path.name for path in plans} >= {"campaign.txt", "explicit.txt", "search.txt", "painters.txt"}
    with command.make_context("bench", ["table"]) as ctx:
        for path in plans:
            assert read_plan(path, lambda words: _check(command.commands["run"], ctx, words)), path


@pytest.mark.parametrize(
    "field", [*(name for name in Definition.model_fields if name not in ("networks", "sha256")), "like"]
)
def test_an_empty_field_of_a_testbed_file_is_refused(field, tmp_path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'like = "sd21"\n{field} = ""\n' if field != "like" else 'like = " "\n')
    with pytest.raises(DataError, match=rf"mine\.toml: '{field}' is empty; give it a value, or leave the line out"):
        read(path)


@pytest.mark.parametrize("line", [*(f'[networks]\n{name} = ""' for name in Networks.model_fields),
                                  'model = ["org/model", ""]', '[sha256]\n"unet/config.json" = ""'])  # fmt: skip
def test_an_empty_text_within_a_table_of_a_testbed_file_is_refused(line, tmp_path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'like = "sd21"\n{line}\n')
    with pytest.raises(DataError, match=r"mine\.toml: '(networks|model|sha256)\..*' is empty"):
        read(path)


def test_a_testbeds_preset_that_no_method_has_is_refused(tmp_path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('like = "sd21"\npreset = "papr"\n')
    told = answer(bench("estimate", "--method", "uce", "--suite", "artists", "--testbed", str(path), "--on", "H100"))
    assert "Unknown testbed preset 'papr'. Did you mean 'paper'?" in told
