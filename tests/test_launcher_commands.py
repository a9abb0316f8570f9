"""What each command does in several processes, decided before anything heavy is imported."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from benchmark import launcher
from benchmark.cli.app import COMMANDS, GRACE, SHARED, SINGLE, app
from benchmark.console import Progress
from benchmark.errors import UsageError
from benchmark.experiments.campaign import conduct_together


def rank(monkeypatch: pytest.MonkeyPatch, number: int, processes: int = 2) -> None:
    """As a launcher sets it."""
    monkeypatch.setenv("RANK", str(number))
    monkeypatch.setenv("WORLD_SIZE", str(processes))


def test_shared_and_single_process_commands_exist_and_are_disjoint() -> None:
    commands = {name for group in COMMANDS.values() for name in group}
    assert {*SHARED, *SINGLE} <= commands
    assert not set(SHARED) & set(SINGLE)


@pytest.mark.parametrize("command", SINGLE)
def test_commands_of_one_process_are_refused_in_several(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rank(monkeypatch, 0)
    words = {"prune": ["aptp"], "testbed": ["build", "mini"], "attack": ["mma"], "campaign": ["plan.txt"]}
    words["footprint"] = ["distilled"]
    result = CliRunner().invoke(app, [command, *words.get(command, [])])
    assert result.exit_code == 2
    assert result.stderr.count("error: ") == 1
    assert f"`bench {command}` runs in one process, and a launcher started 2" in result.stderr


def test_only_the_first_process_prints_its_output(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = []
    for number in (0, 1):
        rank(monkeypatch, number)
        result = CliRunner().invoke(app, ["list", "methods"])
        assert result.exit_code == 0
        printed.append(result.output)
    assert "bilevel" in printed[0]
    assert printed[1] == ""


def test_error_of_a_later_process_is_printed_with_its_number_after_a_wait(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first prints at once, and ends the others before they do."""
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    for number in (0, 1):
        rank(monkeypatch, number, 3)
        result = CliRunner().invoke(app, ["run", "--method", "nosuch", "--suite", "artists"])
        assert result.exit_code == 2
        assert result.stderr.startswith("process 1 of 3: error: Unknown method" if number else "error: Unknown method")
    assert waited == [GRACE]


def test_process_that_loses_a_peer_ends_with_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    rank(monkeypatch, 0)

    def lost(*arguments: object) -> None:
        raise RuntimeError("[gloo/transport/tcp/pair.cc:538] Connection closed by peer [127.0.0.1]:5")

    monkeypatch.setattr("benchmark.cli.list_plugins.listing", lost)
    result = CliRunner().invoke(app, ["list", "methods"])
    assert result.exit_code == 2
    assert result.stderr == "error: another process of this launch has ended; its own error message says why.\n"
    monkeypatch.delenv("RANK")
    assert isinstance(CliRunner().invoke(app, ["list", "methods"]).exception, RuntimeError)


@pytest.mark.parametrize("value", ["", "two", "-1"])
def test_invalid_launcher_variables_are_ignored(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", value)
    monkeypatch.setenv("RANK", value)
    assert (launcher.processes(), launcher.rank()) == (1, 0)
    monkeypatch.delenv("RANK")
    monkeypatch.setenv("WORLD_SIZE", "8")  # as batch scripts export it, for what they start later
    assert launcher.processes() == 1
    assert not Progress().console.quiet


def test_failed_run_in_several_processes_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path
) -> None:
    rank(monkeypatch, 0)

    def run(words: list[str]) -> None:
        if "bad" in words:
            raise UsageError("there is no such thing")

    assert conduct_together([["bad"], ["good"]], tmp_path, run) == [["bad"]]
    err = capsys.readouterr().err
    assert "✗ 1/2 bad" in err
    assert "there is no such thing" in err
    assert "✓ 2/2 good" in err


def test_study_in_several_processes_refuses_lanes(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    rank(monkeypatch, 0)
    result = CliRunner().invoke(app, ["study", "init", "--lanes", "2", "--runs", str(tmp_path)])
    assert result.exit_code == 2
    assert "--lanes" in result.stderr
    assert not list(tmp_path.iterdir())
