"""`bench --help` can be read on 80 columns, in groups."""

import re
from importlib.metadata import version

from typer.testing import CliRunner

from benchmark.cli.app import app


def output(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), terminal_width=80)
    assert result.exit_code == 0
    return result.output


def test_help_has_groups_and_summaries_that_fit_their_line() -> None:
    text = output("--help")
    headings = re.findall(r"^([A-Z][\w ]+):$", text, re.MULTILINE)
    assert headings == ["Options", "Run", "Results", "Testbeds and prompts", "Maintenance"]
    first = re.findall(r"^[A-Z][\w ]+:\n {2}(\w+) ", text, re.MULTILINE)
    assert first == ["run", "table", "list", "rehearse"]
    for arguments in ((), ("prompts",), ("prune",), ("testbed",)):
        text = output(*arguments, "--help")
        assert "..." not in text.partition("Commands:")[2] + text.partition("Run:")[2]
        assert max(map(len, text.splitlines())) <= 80


def test_version_option_prints_the_package_version() -> None:
    assert output("--version") == f"palimpsest {version('palimpsest')}\n"
