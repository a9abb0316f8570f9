"""`bench campaign` runs each line of its file once, and a failed run does not stop the others."""

import os
import sys

import pytest
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.errors import UsageError
from benchmark.experiments import campaign
from benchmark.experiments.campaign import conduct, read_plan


def plan(tmp_path, text: str):
    file = tmp_path / "plan.txt"
    file.write_text(text, "utf-8")
    return read_plan(file)


def test_line_expands_as_in_a_shell_and_repeated_runs_are_dropped(tmp_path) -> None:
    told = plan(
        tmp_path,
        """
        # a comment
        --method {esd,uce} --suite artists --seed {0,1}  # and one behind
        --method bilevel --suite artists --targets "Joan Miró,Paul Cézanne"
        --method uce --suite artists --seed 1
        """,
    )
    head = ["--suite", "artists", "--seed"]
    assert told[:4] == [["--method", m, *head, s] for m in ("esd", "uce") for s in "01"]
    assert told[4] == ["--method", "bilevel", "--suite", "artists", "--targets", "Joan Miró,Paul Cézanne"]
    assert len(told) == 5  # the last line repeats a run of the first


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "contains no runs"),
        ("--method uce", "line 1"),
        ("\n--method a --suite b --runs c", "line 2"),
        ("--method a --suite b --runs=c", "line 1"),
        ('"', "line 1"),
    ],
)
def test_invalid_or_unreadable_plan_is_refused(tmp_path, text, said) -> None:
    with pytest.raises(UsageError, match=said):
        plan(tmp_path, text)
    with pytest.raises(UsageError, match="cannot be read"):
        read_plan(tmp_path / "missing.txt")


def test_failed_run_is_reported_and_the_others_still_run(tmp_path, monkeypatch, capsys) -> None:
    seen = []

    def pretend(command, environment, tell, processes):
        seen.append((command[3:], environment.get("OMP_NUM_THREADS")))
        bad = "uce" in command
        return int(bad), ["first", "error: no such thing"] if bad else []

    monkeypatch.setattr(campaign, "_run_command", pretend)
    monkeypatch.setattr(campaign.os, "cpu_count", lambda: 6)
    told = plan(tmp_path, "--method {esd,uce,bilevel} --suite artists")
    assert conduct(told, tmp_path, lanes=2) == [told[1]]
    assert sorted(words for words, _ in seen) == sorted(["run", *words, "--runs", str(tmp_path)] for words in told)
    assert {threads for _, threads in seen} == {"3"}
    assert "no such thing" in capsys.readouterr().err
    result = CliRunner().invoke(app, ["campaign", str(tmp_path / "plan.txt"), "--runs", str(tmp_path)])
    assert result.exit_code == 1


def test_long_run_of_a_campaign_reports_its_progress_at_intervals(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(campaign, "SILENCE", 0.0)
    code = "import sys; [print(f'line {k}', file=sys.stderr) for k in range(5)]; print('table'); sys.exit(3)"
    seen: list[str] = []
    assert campaign._run_command([sys.executable, "-c", code], os.environ, seen.append) == (
        3,
        ["line 2", "line 3", "line 4"],
    )
    assert seen == [f"line {k}" for k in range(5)]
    monkeypatch.setattr(campaign, "SILENCE", 60.0)
    assert campaign._run_command([sys.executable, "-c", code], os.environ, seen.append)[0] == 3
    assert len(seen) == 5


def test_campaign_starts_real_runs_and_returns_those_that_fail(tmp_path) -> None:
    """For real, with a run that is refused at once."""
    told = plan(tmp_path, "--method uce --suite artists --macs 7")
    assert conduct(told, tmp_path) == told
