"""What docs/plugins.md shows works as it stands there."""

import re
from pathlib import Path

import pytest

from benchmark.plugin_checks.method import MethodChecks
from benchmark.plugin_checks.objective import ObjectiveChecks
from benchmark.plugin_checks.pruning import PruningChecks
from benchmark.testbeds import resolve

TEXT = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")
SECTIONS = {part.partition("\n")[0]: part for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]}


def written(section: str, name: str, folder: Path, language: str = "python") -> Path:
    """The first example of a section, in a file."""
    example = re.search(rf"```{language}\n(.*?)```", SECTIONS[section], re.DOTALL)
    assert example
    path = folder / name
    path.write_text(example[1])
    return path


def states(lines) -> dict[str, str]:
    return {line.subject: line.state for line in lines}


def test_method_of_the_docs_passes_all_checks(tmp_path):
    checks = MethodChecks(f"{written('Method', 'fade.py', tmp_path)}:Fade")
    kept = dict.fromkeys(("contract", "fit", "budget", "determinism"), "kept")
    assert states(checks.lines()) == {**kept, "resume": "untried"}


def test_objective_of_the_docs_passes_its_checks(tmp_path):
    checks = ObjectiveChecks(f"{written('Objective', 'halfway.py', tmp_path)}:Halfway")
    assert checks.contract()
    assert checks.target().startswith("a prediction from anchor, null")


def test_pruning_of_the_docs_passes_all_checks(tmp_path):
    checks = PruningChecks(f"{written('Pruning', 'largest.py', tmp_path)}:largest")
    assert set(states(checks.lines()).values()) == {"kept"}


def test_testbeds_of_the_docs_load(tmp_path):
    klimt = resolve.load(str(written("Testbed", "klimt.toml", tmp_path, "toml")))(device="cpu")
    assert (klimt.name, klimt.concept(()).targets, klimt.sampler.steps) == ("klimt", ("Gustav Klimt",), 10)
    boats = resolve.load(f"{written('Testbed', 'boats.py', tmp_path)}:Boats")(device="cpu")
    prompts = boats.prompts("artists", boats.concept(()))
    assert {"targets", "kept", "neighbours"} <= {prompt.part for prompt in prompts}
    assert all("boat" in prompt.text for prompt in prompts if prompt.part == "targets")


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)", TEXT))))
def test_links_of_the_docs_lead_somewhere(link):
    assert (Path(__file__).parents[1] / "docs" / link).exists()
