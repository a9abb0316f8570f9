"""A concept of one's own in a TOML file: from the file to a row of a table, without Python."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from test_cli import fresh
from test_prunings import bench, refused

from benchmark import evaluate
from benchmark.api import Prompt, Suite
from benchmark.api.request import RunRequest
from benchmark.cost.testbed_facts import read_facts
from benchmark.errors import DataError, UsageError
from benchmark.experiments.campaign import read_plan
from benchmark.suites import load
from benchmark.suites.judges import DetectorJudge, DetectorSettings
from benchmark.testbeds import concept_captions, resolve
from benchmark.testbeds.mini import data, testbed, user_concept
from benchmark.testbeds.mini.world.captions import phrase
from metrics.detectors.rows import MOST, WIDTH
from prompts.concepts import Concept, mentions

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
RUN = ("run", "--method", "uce", "--budget", "2it", "--alone", "--device", "cpu", "--yes")
TOML = """
name = "boat"
kind = "object"
targets = ["boat"]
anchor = "tree"
neighbours = ["fish"]
prompts = "boat.csv"
[judge]
by = "function"
function = "judge.py:brightness"
"""
CSV = """id,text,seed,part,target
a,a picture of a boat,1,targets,boat
b,a photo of a red boat,2,targets,
c,a picture of a fish,3,neighbours,fish
d,a picture of a cat,4,kept,
"""
JUDGE = """
def brightness(pictures):
    return pictures.float().mean(dim=(1, 2, 3)) / 255
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a concept, its prompts and its judge."""
    for name, text in (("boat.toml", TOML), ("boat.csv", CSV), ("judge.py", JUDGE)):
        (tmp_path / name).write_text(text)
    return tmp_path


def run(files: Path, *more: str) -> str:
    result = bench(*RUN, "--concept", str(files / "boat.toml"), "--runs", str(files / "runs"), *more)
    assert result.exit_code == 0, result.output
    return result.stdout


def records(files: Path, method: str) -> list[dict[str, Any]]:
    every = [json.loads(path.read_text()) for path in sorted((files / "runs" / "records").glob("*.record.json"))]
    return [record for record in every if record["method"] == method]


@pytest.mark.usefixtures("standin")
def test_a_concept_file_is_forgotten_judged_and_shown(files: Path) -> None:
    printed = run(files)
    assert "Suite boat on mini, forgetting boat" in printed
    (record,) = records(files, "uce")
    assert record["concept"]["targets"] == ["boat"]
    assert record["concept"]["anchor"] == "tree"
    shares = {name: cell for name, cell in record["cells"].items() if name.startswith("shown_")}
    assert {name: (cell["n"], cell["higher_is_better"]) for name, cell in shares.items()} == {
        "shown_targets": (2, False), "shown_neighbours": (1, None), "shown_kept": (1, None),
    }  # fmt: skip
    assert all(0 <= cell["ci"][0] <= cell["value"] <= cell["ci"][1] <= 100 for cell in shares.values())
    assert {"clip", "cp", "clip_kept", "drift"} < record["cells"].keys()
    assert "csd" not in record["cells"]  # not a style
    table = bench("table", "--suite", str(files / "boat.toml"), "--all", "--format", "json", "--records",
                  str(files / "runs" / "records"))  # fmt: skip
    rows = json.loads(table.stdout)["rows"]
    assert [row["method"] for row in rows] == ["base", "distilled", "uce"]
    assert list(rows[0]["cells"])[:3] == ["shown_targets", "shown_neighbours", "shown_kept"]
    assert "boat" not in rows[0]["label"]  # its own targets are the usual ones
    compared = bench("compare", "uce", "distilled", "--suite", "boat", "--format", "json", "--records",
                     str(files / "runs" / "records"))  # fmt: skip
    assert '"shown_targets"' in compared.stdout, compared.output


@pytest.mark.usefixtures("standin")
def test_a_changed_judge_scores_again_and_changed_prompts_train_again(files: Path) -> None:
    run(files)
    (files / "judge.py").write_text(JUDGE.replace("/ 255", "/ 512"))
    run(files)
    first, second = sorted(records(files, "uce"), key=lambda record: record["made"]["time"])
    assert first["model_key"] == second["model_key"]
    assert first["world"]["suite"]["judge"] != second["world"]["suite"]["judge"]
    assert second["cells"]["score_kept"]["value"] < 0.6 * first["cells"]["score_kept"]["value"]
    (files / "boat.csv").write_text(CSV.replace("a red boat", "a blue boat"))
    run(files)
    third = max(records(files, "uce"), key=lambda record: record["made"]["time"])
    assert third["model_key"] != second["model_key"]
    assert third["world"]["suite"]["prompts"] != second["world"]["suite"]["prompts"]


@pytest.mark.usefixtures("standin")
@pytest.mark.parametrize("method", ["bilevel", "esd", "conceptprune", "uce-captions"])
def test_every_method_forgets_a_concept_file(files: Path, method: str) -> None:
    more = ("--set", "batch=2") if method in ("bilevel", "esd") else ()
    budget = "4it" if method != "conceptprune" else "7e10"
    result = bench("run", "--method", method, "--budget", budget, "--alone", "--device", "cpu", "--yes", *more,
                   "--reference", "base", "--concept", str(files / "boat.toml"), "--runs", str(files))  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "shown" in result.stdout
    assert "targets" in result.stdout


def test_a_concept_file_runs_on_a_testbed_like_sd21(files: Path, tiny: Path) -> None:
    assert "Suite boat on tiny, forgetting boat" in run(files, "--testbed", str(tiny))
    (record,) = records(files, "uce")
    assert record["cells"]["shown_targets"]["n"] == 2


@pytest.mark.usefixtures("standin")
def test_python_evaluates_a_checkpoint_on_a_concept_file(files: Path) -> None:
    unet: Any = testbed.Mini(device="cpu").base()
    unet.conv_out.bias.data += 0.1
    unet.save_pretrained(files / "theirs")
    outcome = evaluate(
        files / "theirs", concept=files / "boat.toml", name="theirs", reference="base", alone=True, runs=files / "runs"
    )
    assert [record.label for record in outcome.records] == ["base", "theirs"]
    assert outcome.records[-1].cells["shown_targets"].n == 2


@pytest.mark.usefixtures("standin")
def test_the_files_of_the_docs_are_a_concept(tmp_path: Path) -> None:
    page = (EXAMPLES.parent / "own-models.md").read_text()
    shown = page.partition("```toml\n")[2].partition("```")[0]
    assert shown in (EXAMPLES / "boat.toml").read_text()
    folder = shutil.copytree(EXAMPLES, tmp_path / "examples")
    for name in ("boat.toml", "boat-oracle.toml"):
        suite = load.load_concept(str(folder / name))
        assert suite.parts == ("targets", "neighbours", "kept")
        checked = bench("doctor", "--concept", str(folder / name))
        assert checked.stdout.count("✓") == 7, checked.output
    result = bench(*RUN, "--concept", str(folder / "boat.toml"), "--limit", "2", "--runs", str(tmp_path / "runs"))
    assert result.exit_code == 0, result.output
    assert "shown" in result.stdout
    assert "targets" in result.stdout


# training data


def concept(**changes: Any) -> Concept:
    given: dict[str, Any] = {"kind": "object", "targets": ("boat",), "anchor": "tree", "neighbours": ("fish",)}
    return Concept(**{**given, "held_out": frozenset({"a prompt"}), **changes})


def test_the_retain_set_shows_no_target() -> None:
    for choice in ("plain", "all-but-targets"):
        scenes, captions = data.retention_set(concept(), choice)
        assert not [text for text in captions if mentions(text, ["boat"])]
        assert not [scene for scene in scenes if "boat" in phrase(scene)]
    assert any("boat" in text for text in data.retention_set(Concept("style", ("Claude Monet",), "art"), "plain")[1])


def test_no_training_caption_is_a_prompt_and_none_without_the_target_names_it() -> None:
    for kind in ("object", "style", "explicit"):
        free = concept_captions.trained_on(concept(kind=kind), user_concept.WORDS, 32)
        held_out = frozenset(sorted(free)[::3])
        barred = concept(kind=kind, held_out=held_out)
        assert held_out
        assert not held_out & concept_captions.trained_on(barred, user_concept.WORDS, 32) - {"boat"}
        assert len(user_concept.naming(barred)) == len(user_concept.erasing(barred)) > 0
        for bare, named in user_concept.contrast(barred)["boat"]:
            assert mentions(named, ["boat"])
            assert not mentions(bare, ["boat"])


def test_an_anchor_that_names_a_target_leaves_no_caption() -> None:
    with pytest.raises(DataError, match="No caption is left to train on for target 'boat'"):
        user_concept.erasing(concept(anchor="house on a boat"))


@pytest.mark.parametrize(
    ("text", "names_it"),
    [("Two Boats at sea", True), ("a boat.", True), ("a steamboat", False), ("boater", False), ("a boat-house", True)],
)
def test_a_text_mentions_a_phrase_as_whole_words(text: str, names_it: bool) -> None:
    assert mentions(text, ["boat"]) is names_it


def test_only_a_concept_of_a_suite_changes_the_key_of_the_distilled_model() -> None:
    assert "held_out" not in Concept("style", ("Claude Monet",), "art").identity()
    assert concept().identity()["held_out"] != concept(held_out=frozenset({"b"})).identity()["held_out"]


def test_a_target_in_another_spelling_is_the_same_target(files: Path) -> None:
    (files / "boat.csv").write_text(CSV.replace(",targets,boat", ",targets,Boat"))
    assert [row.target for row in load.load_concept(str(files / "boat.toml")).rows[:2]] == ["boat", "boat"]


def test_estimates_and_campaigns_take_a_concept_file(files: Path) -> None:
    path = str(files / "boat.toml")
    facts = read_facts(RunRequest("uce", path, alone=True))
    assert (facts.concept.targets, facts.prompt_counts, facts.erasing) == (("boat",), {"boat": 4}, 32)
    (files / "plan.txt").write_text(f"--method uce --concept {path}\n")
    assert read_plan(files / "plan.txt") == [["--method", "uce", "--concept", path]]


def test_a_suite_in_python_can_bring_a_concept() -> None:
    class Boats(Suite):
        name, summary, forgets = "boats", "boats", "object"
        concept = Concept("object", ("boat",), "tree")

        def prompts(self, testbed: Any, concept: Concept) -> list[Prompt]:
            return [Prompt("a", "a boat", 1, "targets", "boat")]

    whole = load.SuiteInRun(Boats(), "coco", [])
    mini = resolve.load("mini")(device="cpu")
    assert whole.concept_on(mini, ()).held_out == {"a boat"}
    with pytest.raises(UsageError, match="brings its own targets"):
        whole.concept_on(mini, ("Claude Monet",))


# judges


def test_a_detector_scores_the_best_detection_with_one_of_its_labels() -> None:
    mini = resolve.load("mini")(device="cpu")
    labels = mini.encoder("detector").detector.labels
    judge = DetectorJudge(DetectorSettings(by="detector", labels=(labels[0],)), "The concept x")
    assert "detects" in judge.check(mini)
    rows = torch.full((2, MOST, WIDTH), -1.0)
    rows[0, 0, :2], rows[0, 1, :2] = torch.tensor([1.0, 0.9]), torch.tensor([0.0, 0.4])
    evidence: Any = type("Features", (), {"own": {"detector": rows.flatten(1)}, "testbed": mini})
    assert judge.scores(evidence).tolist() == pytest.approx([0.4, 0.0])
    with pytest.raises(UsageError, match="has no label 'boat': choose among saltire"):
        DetectorJudge(DetectorSettings(by="detector", labels=("boat",)), "The concept x").check(mini)


def classifier(files: Path, architecture: str, settings: str) -> None:
    from torchvision import models

    torch.manual_seed(0)
    save_file(models.get_model("squeezenet1_1", num_classes=2).state_dict(), files / "boats.safetensors")
    judge = f'by = "classifier"\narchitecture = "{architecture}"\nweights = "boats.safetensors"\nsize = 32\n{settings}'
    (files / "boat.toml").write_text(TOML.partition("by =")[0] + judge)


def test_a_classifier_scores_the_probability_of_its_class(files: Path) -> None:
    pictures = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    scores = []
    for label in ('"boat"', '"none"'):
        classifier(files, "squeezenet1_1", f'classes = ["none", "boat"]\nclass = {label}')
        network = load.load_concept(str(files / "boat.toml")).networks("cpu")["judge"]
        scores.append((network.name, network(pictures)[:, 0]))
    assert scores[0][0] != scores[1][0]  # features are stored by this name
    assert torch.allclose(scores[0][1] + scores[1][1], torch.ones(3), atol=1e-5)


@pytest.mark.usefixtures("standin")
@pytest.mark.parametrize(
    ("architecture", "settings", "sentence"),
    [
        ("resnet18", 'classes = 2\nclass = 0', "are not those of torchvision's resnet18 with 2 classes (they lack"),
        ("squeezenet1_1", "class = 0", "has shape (2,) instead of (1000,)"),
        ("squeezenet11", "class = 0", "torchvision has no classifier 'squeezenet11'. Did you mean 'squeezenet1_1'?"),
        ("squeezenet1_1", "classes = 2\nclass = 2", "judge.class is 2, but must be from 0 to 1"),
        ("squeezenet1_1", 'classes = 2\nclass = "boat"', "list the names of all classes there"),
        ("squeezenet1_1", 'classes = ["a", "b"]\nclass = "boat"', "Unknown class of judge 'boat'"),
        ("squeezenet1_1", "classes = 2", "setting 'judge.class' is missing"),
    ],
)  # fmt: skip
def test_a_wrong_classifier_is_refused_before_training(
    files: Path, architecture: str, settings: str, sentence: str
) -> None:
    classifier(files, architecture, settings)
    assert sentence in refused(bench(*RUN, "--concept", str(files / "boat.toml"), "--runs", str(files / "runs")))
    assert not list((files / "runs").glob("artefacts/model/*"))


@pytest.mark.usefixtures("standin")
@pytest.mark.parametrize(
    ("name", "old", "new", "sentence"),
    [
        ("boat.toml", 'kind = "object"', 'kind = "thing"', "'kind': input should be 'style', 'explicit' or 'object'"),
        ("boat.toml", 'anchor = "tree"', "", "setting 'anchor' is missing"),
        ("boat.toml", "neighbours", "neighbors",
         "it has no setting 'neighbors' (did you mean 'neighbours'?); the settings are name, kind"),
        ("boat.toml", 'by = "function"\nfunction', 'by = "function"\nfuntion',
         "it has no setting 'judge.funtion' (did you mean 'function'?)"),
        ("boat.csv", "part", "parts", "the column 'part' is missing, and the column 'parts' is unknown; required"),
        ("boat.toml", '["fish"]', '["Boat"]', "'Boat' is both a target and a neighbour to keep"),
        ("boat.toml", '"tree"', '"boat"', "The anchor 'boat' is also a target"),
        ("boat.toml", '["boat"]', "[]", "'targets'"),
        ("boat.toml", 'name = "boat"', 'name = "artists"', "has the name of installed suite 'artists'"),
        ("boat.toml", 'by = "function"', "", "setting 'judge.by' is missing; write who judges the pictures"),
        ("boat.toml", 'by = "function"', 'by = "oracle"', "judge.by is 'oracle'"),
        ("boat.toml", 'by = "function"', 'by = "clip"', "judge.positive' is missing"),
        ("boat.toml", 'by = "function"', 'by = "function"\nlabel = 3', "no setting 'judge.label'"),
        ("boat.toml", 'by = "function"', 'by = "function"\nthreshold = 1.5', "'judge.threshold'"),
        ("boat.toml", "judge.py:brightness", "gone.py:brightness", "gone.py to load 'brightness' from does not exist"),
        ("boat.toml", "judge.py:brightness", "judge.py:darkness", "Unknown function in"),
        ("boat.toml", "judge.py:brightness", "judge", "must be path/to/file.py:function"),
        ("boat.toml", '"boat.csv"', '"gone.csv"', "cannot be read"),
        ("boat.csv", ",targets,", ",kept,", "names the target 'boat', but its part 'kept' is for prompts to keep"),
        ("boat.csv", "a,a picture of a boat,1,targets,boat\nb,a photo of a red boat,2,targets,\n", "",
         "has no prompt of part targets for 'boat'"),
        ("boat.csv", "c,a picture of a fish,3,neighbours,fish\nd,a picture of a cat,4,kept,\n", "",
         "add prompts of a part such as kept or neighbours"),
        ("boat.csv", "targets,boat", "targets,ship", "the target 'ship' is none of the concept's targets: boat"),
        ("judge.py", "/ 255", "", "return numbers from 0 to 1"),
        ("judge.py", "/ 255", "* float('nan')", "returned the score nan"),
        ("judge.py", "dim=(1, 2, 3)", "dim=(2, 3)", "returned scores of shape (3, 3) for 3 pictures"),
        ("judge.py", "return ", "return 'boat' # ", "returned str, which is no tensor of scores"),
        ("judge.py", "return ", "return 1 / 0 # ", "failed in judge.py, line 3 (ZeroDivisionError"),
    ],
)  # fmt: skip
def test_a_wrong_concept_is_one_sentence_before_any_training(
    files: Path, name: str, old: str, new: str, sentence: str
) -> None:
    path = files / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    told = refused(bench(*RUN, "--concept", str(files / "boat.toml"), "--runs", str(files / "runs")))
    assert sentence in told
    assert not list((files / "runs").glob("artefacts/*/*"))
    doctor = bench("doctor", "--concept", str(files / "boat.toml"))
    assert doctor.exit_code == 1
    assert "✗" in doctor.stdout


def test_a_concept_file_that_does_not_exist_is_called_a_concept_file(files: Path) -> None:
    told = refused(bench(*RUN, "--concept", str(files / "missing.toml")))
    assert f"The concept {files / 'missing.toml'} cannot be read (No such file or directory)" in told


def test_doctor_refuses_a_wrong_concept_file_without_loading_torch(files: Path) -> None:
    (files / "boat.csv").write_text(CSV.replace("id,", "name,"))
    done = fresh("doctor", "--concept", str(files / "boat.toml"), home=files)
    assert done.returncode == 1
    assert "✗ concept" in done.stdout
    assert "the column 'id' is missing" in done.stdout
    assert "torch" not in done.stderr.rpartition("heavy:")[2].split()


@pytest.mark.usefixtures("standin")
def test_clip_phrases_that_read_the_same_are_refused(files: Path) -> None:
    judge = 'by = "clip"\npositive = "a boat"\nnegative = "a  BOAT"\n'
    (files / "boat.toml").write_text(TOML.partition("by =")[0] + judge)
    told = refused(bench(*RUN, "--concept", str(files / "boat.toml"), "--runs", str(files / "runs")))
    assert "reads 'a boat' and 'a  BOAT' as the same text" in told


@pytest.mark.usefixtures("standin")
def test_options_that_contradict_a_concept_file_are_refused(files: Path) -> None:
    path = str(files / "boat.toml")
    assert "--suite and --concept both name the prompts" in refused(
        bench(*RUN, "--concept", path, "--suite", "artists")
    )
    assert "--suite and --concept are missing" in refused(bench(*RUN))
    assert "leave --targets out" in refused(bench(*RUN, "--concept", path, "--targets", "Claude Monet"))
    assert "takes a TOML file" in refused(bench(*RUN, "--concept", "artists"))
    assert "leave it out" in refused(bench(*RUN, "--suite", path, "--targets", "Claude Monet"))
    (files / "plain.toml").write_text('name = "plain"\nsummary = "x"\nprompts = "boat.csv"\nmetrics = ["clip"]\n')
    assert "no concept to forget" in refused(bench(*RUN, "--concept", str(files / "plain.toml")))


def test_doctor_compares_prompts_with_the_targets(files: Path) -> None:
    (files / "boat.csv").write_text(CSV.replace("a picture of a cat", "a cat in a boat"))
    assert "prompt d has part kept, but names a target" in bench("doctor", "--concept", str(files / "boat.toml")).stdout
    (files / "boat.csv").write_text(CSV.replace("a photo of a red boat", "a photo of a ship"))
    assert "does not name 'boat': use part implicit" in bench("doctor", "--concept", str(files / "boat.toml")).stdout


def test_every_prompt_of_the_example_names_its_content() -> None:
    with open(EXAMPLES / "boat.csv", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert all(mentions(row["text"], [row["content"]]) for row in rows)
