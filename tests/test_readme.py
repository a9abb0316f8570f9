"""What the README shows works as it stands there."""

import re
from pathlib import Path

import pytest
from standin import whole

README = (Path(__file__).parents[1] / "README.md").read_text()
CODE = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.usefixtures("standin")
def test_the_readmes_method_runs_and_gets_its_row(tmp_path):
    code = CODE[0]
    file = tmp_path / "hush.py"
    file.write_text(code)
    assert len([line for line in code.splitlines() if line.strip()]) <= 30, "the README promises a short one"
    outcome = whole(tmp_path / "runs", method=f"{file}:Hush", alone=True, overrides={"batch": 4}, budget="5it")
    (mine,) = [one for one in outcome.records if one.method not in ("base", "distilled")]
    assert {entry["phase"]: entry["iterations"] for entry in mine.ledger if entry["iterations"]} == {
        "lower": 4,
        "forget": 1,
    }
    assert mine.cells["clip"].n == mine.cells["clip"].of > 0


@pytest.mark.usefixtures("standin")
def test_the_readmes_objective_is_another_when_its_file_changes(tmp_path):
    assert len(CODE) == 2
    file, rows = tmp_path / "forget.py", []
    for code in (CODE[1], CODE[1].replace('answers["null"]', '2 * answers["null"]')):
        file.write_text(code)
        overrides = {"batch": 4, "lower_steps": 1, "objective": f"{file}:Forget"}
        outcome = whole(tmp_path / "runs", alone=True, overrides=overrides, budget="4it")
        rows.append(next(one for one in outcome.records if one.method == "bilevel"))
    assert rows[0].cells["drift"] != rows[1].cells["drift"]
    assert "objective=" in rows[0].variant


def test_every_command_in_the_readme_exists():
    from typer.main import get_group

    from benchmark.cli.app import app

    commands = set(get_group(app).commands)
    said = set(re.findall(r"bench ([a-z]+)", README))
    assert said <= commands
    assert {"run", "table", "list"} <= said
