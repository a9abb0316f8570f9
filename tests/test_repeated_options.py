"""Options given twice, lists that repeat a name, and lines that cannot be run are refused in one sentence."""

from pathlib import Path

import pytest
from test_cli import answer, bench
from test_given_but_empty import parameters

RUN = ["run", "--method", "uce", "--suite", "artists"]


@pytest.mark.parametrize(
    ("words", "command", "parameter"),
    [
        pytest.param(*row, id=" ".join((*row[0], row[2].name)))
        for row in parameters()
        if row[2].param_type_name == "option" and not row[2].multiple
    ],
)
def test_every_option_with_one_value_is_refused_when_given_twice(words, command, parameter) -> None:
    option = max(parameter.opts, key=len)
    arguments = ["1" for argument in command.params if argument.param_type_name == "argument"]
    assert f"{option} is given 2 times: give it once." in answer(bench(*words, *arguments, option, "1", f"{option}=2"))


def test_flags_and_repeatable_options_may_be_repeated(tmp_path: Path) -> None:
    words = ["table", "2", "--paper", "--paper", "--label", "annulet", "--label", "trine", "--format", "json"]
    assert bench(*words).exit_code == 0


@pytest.mark.parametrize(
    "words",
    [
        [*RUN, "--targets", "Monet,Claude Monet"],
        ["estimate", *RUN[1:], "--targets", "Monet,Claude Monet"],
        ["eval", "--checkpoint", "x", "--suite", "artists", "--targets", "Claude Monet,Claude Monet"],
        ["table", "--targets", "Monet,claude monet"],
    ],
    ids=" ".join,
)
def test_artist_named_twice_is_refused_in_every_command_with_targets(words: list[str]) -> None:
    assert "--targets names 'Claude Monet' twice: name it once." in answer(bench(*words))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["table", "--columns", "cp,cp"], "--columns names 'cp' twice"),
        (["compare", "bilevel", "esd", "--columns", "cp,cp"], "--columns names 'cp' twice"),
        (["study", "init", "--prunings", "aptp,aptp"], "--prunings names 'aptp' twice"),
        (["testbed", "build", "mini", "--only", "vae,vae"], "--only names 'vae' twice"),
    ],
    ids=" ".join,
)
def test_a_list_that_repeats_a_name_is_refused(words: list[str], sentence: str) -> None:
    assert sentence in answer(bench(*words))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("--help", "--help only prints a help text: leave it out."),
        ("--seed 1 --seed 2", "--seed is given 2 times: give it once."),
        ("--seed 1 \\", "the line ends with a backslash, but runs cannot have several lines: write it on one line."),
        ('--set eta="1', "a quotation mark is not closed: close it."),
    ],
)
def test_campaign_line_that_runs_nothing_or_is_incomplete_is_refused(line, sentence, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("benchmark.experiments.campaign.conduct", lambda *_: pytest.fail("it has begun"))
    (tmp_path / "plan.txt").write_text(f"--method uce --suite artists\n--method uce --suite artists {line}\n")
    complaint = answer(bench("campaign", str(tmp_path / "plan.txt"), "--runs", str(tmp_path / "runs")))
    assert complaint.endswith(f"plan.txt, line 2: {sentence}\n")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--macs", "nan"], "--macs must be a share of the base U-Net's MACs, above 0 and at most 1; nan is not."),
        (["--macs", "55"], "--macs must be a share of the base U-Net's MACs, above 0 and at most 1; 55 is not."),
        (["--pruning", "none", "--macs", "0.8"], "--macs 0.8 has no effect with --pruning none"),
    ],
)
def test_compare_and_run_refuse_the_same_shares_of_macs(options: list[str], sentence: str) -> None:
    assert sentence in answer(bench("compare", "bilevel", "esd", *options))
    assert sentence in answer(bench(*RUN, *options))


@pytest.mark.parametrize("share", ["nan", "0", "-1", "55"])
def test_expert_search_refuses_shares_of_macs_out_of_range(share: str) -> None:
    assert f"above 0 and at most 1; {share} is not." in answer(bench("prune", "aptp", f"--macs={share}"))


def test_page_block_with_a_format_or_an_open_quote_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    refused = {
        "table --format json": "a page is always Markdown, so leave --format out.",
        'table --targets "Monet': "cannot be parsed (No closing quotation): close its quotes.",
    }
    for command, sentence in refused.items():
        page.write_text(text := f"<!-- bench {command} -->\nold\n<!-- end -->\n")
        assert sentence in answer(bench("page", str(page)))
        assert page.read_text() == text
