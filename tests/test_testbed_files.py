"""Testbeds of one's own: TOML files that are like mini, Python classes, and files written from a pipeline."""

from dataclasses import replace
from pathlib import Path

import pytest
from standin import whole
from typer.testing import CliRunner

from benchmark.api.request import RunRequest, Runtime
from benchmark.cli.app import app
from benchmark.console import Progress
from benchmark.cost.testbed_facts import read_facts
from benchmark.errors import DataError, PalimpsestError, UsageError
from benchmark.pipeline.setup import workbench_for
from benchmark.testbeds import resolve
from benchmark.testbeds.mini import from_file  # before the stand-in takes the place of its parent class
from benchmark.testbeds.mini.prompts import style_concept

PROMPTS = """id,text,seed,part,target
k1,a boat by Gustav Klimt,1,targets,Gustav Klimt
k2,a house by Gustav Klimt,2,targets,Gustav Klimt
k3,a kiss,3,implicit,Gustav Klimt
m1,a boat by Claude Monet,4,kept,Claude Monet
m2,a house by Claude Monet,5,kept,Claude Monet
v1,a starry night,6,implicit,Vincent van Gogh
"""
KLIMT = """
from texts import TARGETS
from benchmark.testbeds.mini.testbed import Mini

class Klimt(Mini):
    name, summary = "klimt", "mini, but Klimt is forgotten"

    def concept(self, targets, kind="style"):
        return super().concept(targets or (TARGETS if kind == "style" else ()), kind)
"""


def bench(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, result.output + str(result.exception)
    return result.stdout if code == 0 else result.output


@pytest.fixture
def toml(weights: Path, tmp_path: Path) -> Path:
    (tmp_path / "prompts.csv").write_text(PROMPTS)
    (tmp_path / "parent.toml").write_text(f'like = "mini"\nweights = "{weights}"\nsteps = 2\nflops = 8e9\n')
    path = tmp_path / "small.toml"
    path.write_text('like = "parent.toml"\ntargets = ["Gustav Klimt"]\nprompts = "prompts.csv"\n')
    return path


@pytest.fixture
def python(tmp_path: Path) -> Path:
    (tmp_path / "texts.py").write_text('TARGETS = ("Gustav Klimt",)\n')
    path = tmp_path / "klimt.py"
    path.write_text(KLIMT)
    return path


assert from_file


@pytest.mark.usefixtures("standin")
def test_run_on_a_file_like_mini_asks_its_prompts(toml, tmp_path):
    overrides = {"batch": 4, "lower_steps": 2}
    outcome = whole(tmp_path / "runs", testbed=str(toml), alone=True, overrides=overrides, budget="3it")
    record = next(record for record in outcome.records if record.method == "bilevel")
    assert (record.testbed, record.concept["targets"]) == ("small", ["Gustav Klimt"])
    assert record.cells["clip"].n == 2
    assert record.scores is not None
    assert record.scores.rows == 5  # without the painter who is not a target


def test_file_like_mini_has_its_own_identity(toml, tmp_path):
    bench_of = workbench_for(Runtime(str(toml), device="cpu"), tmp_path / "runs", Progress())
    identity = bench_of.testbed.identity()
    assert identity["testbed"] == "small"
    (tmp_path / "prompts.csv").write_text(PROMPTS.replace("a boat", "a ship"))
    assert bench_of.testbed.identity()["data"] != identity["data"]
    assert resolve.sampling_of(str(toml)) == {"steps": 2, "guidance": 2.5}
    assert bench_of.testbed.default_flops == 8e9


def test_lists_show_a_file_and_what_it_is_like(toml, python):
    assert bench("list", "testbeds", "--testbed", str(toml)).splitlines()[-1].endswith("(like parent.toml, mini)")
    line = bench("list", "testbeds", "--testbed", f"{python}:Klimt").splitlines()[-1]
    assert line.split(maxsplit=1) == ["klimt", "mini, but Klimt is forgotten (like mini)"]
    artists = dict(line.split("  ", 1) for line in bench("list", "artists", "--testbed", str(toml)).splitlines())
    assert artists["Gustav Klimt"].strip().startswith("target")
    assert artists["Claude Monet"].strip().startswith("kept")
    assert "Gustav Klimt" in bench("list", "artists", "--testbed", f"{python}:Klimt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'like = "mini"\nname = "Mini"\n',
            "has the name of installed testbed 'mini', so results of both would be mixed",
        ),
        ('like = "mini"\nwieghts = "x"\n', "Unknown setting 'wieghts'. Did you mean 'weights'?"),
        ('like = "mini"\ntargets = ["Nobody"]\n', "'targets': Testbed mini has no artist 'Nobody'"),
        ('like = "mini"\nsteps = 0\n', "'steps': input should be greater"),
        ('like = "mini"\nprompts = "gone.csv"\n', "gone.csv cannot be read"),
        ('like = "maxi"\n', "or a shipped testbed (sd21, mini)"),
        ('like = "mini"\nsteps = "2"\n', "'steps': input should be a valid integer and is \"2\""),
        ('like = "mini"\ntargets = "Gustav Klimt"\n', "'targets': input should be a valid list and is"),
        ('like = "mini"\nweights = 3\n', "'weights' is 3, but must be a string"),
        ('like = "mini"\nname = "a b"\n', "'name' is \"a b\", but may have only letters A to Z"),
    ],
)
def test_wrong_file_like_mini_is_one_sentence(text, message, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        resolve.name_of(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_there_are_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('like = "mini"\nweights = "nowhere"\n')
    with pytest.raises(DataError, match="weights are missing or incomplete"):
        resolve.load(str(path))(device="cpu")


def test_list_of_a_painter_that_mini_does_not_know_is_refused(toml, tmp_path):
    (tmp_path / "prompts.csv").write_text(PROMPTS + "x1,a boat,9,kept,Nobody\n")
    with pytest.raises(DataError, match=r"x1 has part 'kept' and target 'Nobody'"):
        resolve.name_of(str(toml))


def test_targets_without_a_prompt_are_refused(toml):
    testbed = resolve.load(str(toml))(device="cpu")
    with pytest.raises(DataError, match="has no prompt for Piet Mondrian"):
        testbed.prompts("artists", style_concept(("Piet Mondrian",)))


def test_python_testbed_inherits_and_its_code_is_in_its_identity(python, tmp_path):
    name = f"{python}:Klimt"
    testbed = resolve.load(name)(device="cpu")
    identity = testbed.identity()
    assert (testbed.concept(()).targets, identity["testbed"]) == (("Gustav Klimt",), "klimt")
    (tmp_path / "texts.py").write_text('TARGETS = ("Piet Mondrian",)\n')
    edited = resolve.load(name)(device="cpu")
    assert edited.concept(()).targets == ("Piet Mondrian",)
    assert edited.identity() != identity
    assert {**edited.identity(), "data": ""} == {**identity, "data": ""}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name, summary = "klimt"', 'name, summary = "mini"', "name of installed testbed 'mini'"),
        ('name, summary = "klimt"', 'name, summary = "a b"', 'has the name "a b", but a name may have only letters'),
        ("(Mini)", "", "Klimt is not a testbed: it must inherit from Testbed of benchmark.api."),
        ("(Mini)", "(Testbed)", "Klimt is not a complete testbed: it lacks identity, prompts, base, encode"),
        ("def concept", "def __init__(self): ...\n\n    def concept", "Klimt(device='cpu') must be a valid call"),
    ],
)
def test_unfinished_python_testbed_is_told_what_it_lacks(python, old, new, message):
    code = KLIMT.replace("\nclass", "from benchmark.api import Testbed\n\nclass", 1)
    assert old in code
    python.write_text(code.replace(old, new, 1))
    with pytest.raises(PalimpsestError) as caught:
        resolve.name_of(f"{python}:Klimt")
    assert message in str(caught.value)


def test_python_testbed_that_fails_is_refused_in_one_sentence(python):
    python.write_text(KLIMT + '\n    def __init__(self, device="cpu"):\n        1 / 0\n')
    with pytest.raises(UsageError, match=r"cannot be created: Klimt\(device='cpu'\) raises ZeroDivisionError"):
        resolve.load(f"{python}:Klimt")(device="cpu")


def test_new_file_of_a_pipeline_loads(tiny, tmp_path):
    out = tmp_path / "mine.toml"
    text = bench(
        "testbed", "new", str(out), "--from", str(tiny.parent / "model"), "--captions", str(tiny.parent / "coco")
    )
    assert "prediction type  v_prediction" in text
    assert "77 tokens" in text
    networks = tiny.read_text().partition("[networks]")[2].replace('"networks', f'"{tiny.parent}/networks')
    out.write_text(out.read_text() + 'preset = "default"\n[networks]' + networks)
    testbed = resolve.load(str(out))(device="cpu")
    assert (testbed.name, testbed.text_length) == ("mine", 77)
    assert testbed.sampler.latent_size == testbed.base().config["sample_size"]
    assert testbed.default_flops > 0


def test_new_file_of_weights_like_minis_loads(weights, tmp_path):
    out = tmp_path / "mine.toml"
    bench("testbed", "new", str(out), "--from", str(weights))
    assert resolve.load(str(out))(device="cpu").name == "mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("mine.txt", "--from", "model"), "mine.txt is not a name for a testbed file"),
        (("there.toml", "--from", "model"), "there.toml already exists"),
        (("mine.toml", "--from", "nowhere"), "The folder nowhere does not exist"),
        (("mine.toml", "--from", "empty"), "scheduler_config.json cannot be read"),
        (("mini.toml", "--from", "empty"), "name of installed testbed 'mini'"),
    ],
)
def test_new_file_is_refused_in_one_sentence(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.toml").write_text("")
    (tmp_path / "empty").mkdir()
    assert message in bench("testbed", "new", *words, code=2)
    assert not (tmp_path / "mine.toml").exists()


def test_estimate_counts_what_a_file_like_mini_says(toml):
    facts = read_facts(RunRequest("esd", "artists", testbed=str(toml)))
    assert (facts.name, facts.concept.targets, facts.flops) == ("small", ("Gustav Klimt",), 8e9)
    assert (facts.steps, facts.calls, facts.prompt_counts["artists"]) == (2, 3, 5)
    few = read_facts(RunRequest("esd", "artists", testbed=str(toml), limit=1))
    assert few.prompt_counts["artists"] == 3  # of targets, implicit and kept ones
    printed = bench("estimate", "--method", "esd", "--suite", "artists", "--testbed", str(toml), "--budget", "20it")
    assert "sample artists" in printed


def test_estimate_of_mini_is_that_of_an_empty_file_like_mini(tmp_path):
    path = tmp_path / "empty.toml"
    path.write_text('like = "mini"\n')
    (own, minis) = (read_facts(RunRequest("esd", "artists", testbed=testbed)) for testbed in (str(path), "mini"))
    assert replace(own, name="mini") == minis


def test_estimate_of_a_python_testbed_is_refused_in_one_sentence(python):
    words = ("--method", "esd", "--suite", "artists", "--testbed", f"{python}:Klimt")
    assert "is written in Python and the sizes of its networks are unknown" in bench("estimate", *words, code=2)
