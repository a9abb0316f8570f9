"""Suites and metrics of one's own, as docs/plugins.md shows them: from a file to the last column of a table."""

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from docs_plugins import FILES
from test_prunings import bench, refused

from benchmark import registry
from benchmark.testbeds.mini import testbed

RUN = ("run", "--method", "distilled", "--budget", "1it", "--reference", "base")


@pytest.fixture
def files(standin: Path, tmp_path: Path) -> Path:
    """A folder with all files of the page."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def run(files: Path, suite: str, *more: str) -> str:
    result = bench(*RUN, "--suite", suite, "--runs", str(files / "runs"), *more)
    assert result.exit_code == 0, result.output
    return result.stdout


def shown(files: Path, suite: str, *more: str) -> Any:
    options = ("--all", "--format", "json", "--records", str(files / "runs" / "records"))
    result = bench("table", "--suite", suite, *options, *more)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def written(files: Path, suite: str, method: str = "distilled") -> list[dict[str, Any]]:
    records = [json.loads(path.read_text()) for path in sorted((files / "runs" / "records").glob("*.record.json"))]
    return [record for record in records if (record["suite"], record["method"]) == (suite, method)]


def test_a_suite_from_a_file_ends_in_a_table_with_its_own_columns(files: Path) -> None:
    printed = run(files, f"{files / 'ponds.py'}:Ponds")
    assert "Suite ponds on mini" in printed
    assert "match" in printed
    assert "best match" not in printed  # its column has a section
    for suite in (f"{files / 'ponds.py'}:Ponds", "ponds"):
        document = shown(files, suite)
        assert document["suite"] == "ponds"
        cells = document["rows"][-1]["cells"]
        assert list(cells) == ["match", "variety", "clip_kept", "fid", "coco_clip"]
        assert (cells["match"]["n"], cells["variety"]["n"], cells["clip_kept"]["n"]) == (3, 7, 4)
        assert cells["clip_kept"]["higher_is_better"] is True
        assert len(cells["variety"]["ci"]) == 2
    assert "best" in shown(files, "ponds", "--long")["rows"][-1]["cells"]
    markdown = bench("table", "--suite", "ponds", "--all", "--format", "markdown", "--records",
                     str(files / "runs" / "records"))  # fmt: skip
    assert "| match ↓ | variety ↑ | CLIP, kept ↑ | COCO FID ↓ |" in markdown.stdout
    compared = bench("compare", "distilled", "base", "--suite", "ponds", "--format", "json", "--records",
                     str(files / "runs" / "records"))  # fmt: skip
    assert compared.exit_code == 0, compared.output
    assert '"variety"' in compared.stdout
    page = files / "page.md"
    page.write_text(f"<!-- bench table --suite ponds --all --records {files / 'runs' / 'records'} -->\n<!-- end -->\n")
    assert bench("page", str(page)).exit_code == 0
    assert "match ↓" in page.read_text()


def test_rows_and_columns_outlive_the_files(files: Path) -> None:
    run(files, f"{files / 'ponds.py'}:Ponds", "--alone")
    before = shown(files, "ponds")
    (files / "ponds.py").unlink()
    (files / "variety.py").unlink()
    assert shown(files, "ponds") == before
    gone = bench("table", "--suite", f"{files / 'ponds.py'}:Ponds", "--records", str(files / "runs" / "records"))
    assert "give the suite's name as in its records. Available: ponds." in refused(gone)


def test_an_edited_suite_is_scored_anew_and_hides_its_older_rows(files: Path) -> None:
    suite = f"{files / 'ponds.py'}:Ponds"
    run(files, suite, "--alone")
    path = files / "ponds.py"
    path.write_text(path.read_text().replace("(100 * cosines)", "(1000 * cosines)"))
    run(files, suite, "--alone")
    first, second = sorted(record["cells"]["match"]["value"] for record in written(files, "ponds"))
    assert first != second
    rows = bench("table", "--suite", "ponds", "--format", "json", "--records", str(files / "runs" / "records"))
    # one iteration is no default budget: the base alone is shown without --all, and of its versions the newest
    assert [row["method"] for row in json.loads(rows.stdout)["rows"]].count("base") == 1
    assert len(shown(files, "ponds")["rows"]) == 4


def test_a_metric_from_a_file_is_added_to_a_built_in_suite_and_never_stale(files: Path) -> None:
    metric = f"{files / 'variety.py'}:Variety"
    run(files, "artists", "--alone", "--metric", metric)
    (record,) = written(files, "artists")
    cell = record["cells"]["variety"]
    assert cell["back_end"].endswith(f"+code-{registry.fingerprint(metric)[:8]}")  # type: ignore[index]
    cells = shown(files, "artists")["rows"][-1]["cells"]
    assert list(cells)[:3] == ["clip", "cp", "csd"]
    assert cells["variety"]["value"] == cell["value"]
    path = files / "variety.py"
    path.write_text(path.read_text().replace(".norm(dim=1)", ".norm(dim=1) + 1"))
    run(files, "artists", "--alone", "--metric", metric)
    (again,) = written(files, "artists")
    assert again["cells"]["variety"]["value"] == pytest.approx(cell["value"] + 1, rel=1e-5)
    assert again["cells"]["clip"] == record["cells"]["clip"]


def test_a_suite_without_python_runs_and_holds_both_checksums(files: Path) -> None:
    suite = str(files / "bridges.toml")
    run(files, suite)
    (first,) = written(files, "bridges")
    assert set(first["world"]["suite"]) == {"code", "prompts"}
    document = shown(files, suite)
    cells = document["rows"][-1]["cells"]
    assert list(cells) == ["csd", "variety", "clip_kept"]
    assert (cells["csd"]["n"], cells["clip_kept"]["n"]) == (2, 2)
    assert cells["csd"]["higher_is_better"] is False  # on pictures of what is to be forgotten
    markdown = bench("table", "--suite", suite, "--all", "--format", "markdown", "--records",
                     str(files / "runs" / "records")).stdout  # fmt: skip
    assert "| CSD, bridges ↓ |" in markdown
    path = files / "bridges.csv"
    path.write_text(path.read_text().replace("a bridge,2", "a bridge,9"))
    run(files, suite)
    older, newer = sorted(written(files, "bridges"), key=lambda record: record["made"]["time"])
    assert older["world"]["suite"]["prompts"] != newer["world"]["suite"]["prompts"]
    assert older["world"]["suite"]["code"] == newer["world"]["suite"]["code"]


def test_an_estimate_counts_the_prompts_of_a_toml_suite_and_names_those_that_it_cannot(files: Path) -> None:
    counted = bench("estimate", "--method", "esd", "--suite", str(files / "bridges.toml"))
    assert "sample bridges" in counted.stdout, counted.output
    unknown = bench("estimate", "--method", "esd", "--suite", f"{files / 'ponds.py'}:Ponds")
    assert "the prompts of suite ponds, which its own code defines, are not counted" in unknown.stdout


@pytest.fixture
def checkpoint(files: Path) -> Path:
    """A U-Net that was made elsewhere: the base with other last biases."""
    unet: Any = testbed.Mini(device="cpu").base()
    unet.conv_out.bias.data += 0.1
    unet.save_pretrained(files / "theirs" / "unet")
    return files / "theirs" / "unet"


def test_a_model_made_elsewhere_is_scored_on_suites_and_metrics_from_files(files: Path, checkpoint: Path) -> None:
    suite = f"{files / 'ponds.py'}:Ponds"
    asked = ("eval", "--checkpoint", str(checkpoint), "--name", "theirs", "--reference", "base", "--alone",
             "--runs", str(files / "runs"))  # fmt: skip
    evaluated = bench(*asked, "--suite", suite, "--require", "variety>=0", "--require", "match<=100")
    assert evaluated.exit_code == 0, evaluated.output
    assert "Suite ponds on mini" in evaluated.stdout
    assert "pass  variety >= 0" in evaluated.stdout
    assert "pass  match <= 100" in evaluated.stdout
    (record,) = written(files, "ponds", "theirs")
    assert set(record["cells"]) == {"match", "best", "variety", "clip_kept"}
    assert record["world"]["suite"]["code"] == f"sha256:{registry.fingerprint(suite)}"
    assert [row["method"] for row in shown(files, "ponds")["rows"]] == ["base", "theirs"]
    variety = f"{files / 'variety.py'}:Variety"
    assert bench(*asked, "--suite", "artists", "--metric", variety).exit_code == 0
    assert "variety" in written(files, "artists", "theirs")[0]["cells"]
    assert bench(*asked, "--suite", str(files / "bridges.toml")).exit_code == 0
    assert list(shown(files, "bridges")["rows"][-1]["cells"]) == ["csd", "variety", "clip_kept"]


def test_a_wrong_suite_or_metric_of_an_evaluation_is_one_sentence(files: Path, checkpoint: Path) -> None:
    asked = ("eval", "--checkpoint", str(checkpoint), "--reference", "base", "--runs", str(files / "runs"))
    gone = refused(bench(*asked, "--suite", f"{files / 'gone.py'}:Ponds"))
    assert "does not exist" in gone
    suite = f"{files / 'ponds.py'}:Ponds"
    assert "Did you mean 'clip'?" in refused(bench(*asked, "--suite", suite, "--metric", "clap"))
    columns = refused(bench(*asked, "--suite", suite, "--alone", "--require", "varied>=0"))
    assert "there is no column 'varied': did you mean 'variety'? There are match, best, variety, clip_kept." in columns
    assert not (files / "runs" / "records").exists()


def test_an_entry_point_is_listed_and_run_like_a_built_in_suite(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(files))
    (files / "ponds.py").write_text(FILES["ponds.py"].replace('"variety.py:Variety"', '"variety"'))
    points = {
        "palimpsest.suites": EntryPoint("ponds", "ponds:Ponds", "palimpsest.suites"),
        "palimpsest.metrics": EntryPoint("variety", "variety:Variety", "palimpsest.metrics"),
    }
    for module in ("benchmark.registry", "benchmark.cli.list_plugins"):
        real = registry.entry_points
        monkeypatch.setattr(
            f"{module}.entry_points",
            lambda group, real=real: [*real(group=group), *([points[group]] if group in points else [])],
        )
    assert "ponds by the targets, and ponds by nobody" in bench("list", "suites").stdout
    listed = bench("list", "metrics")
    assert "how much the pictures differ" in listed.stdout
    assert "my.py:Class: a metric of your own" in listed.stderr
    run(files, "ponds")
    assert list(shown(files, "ponds")["rows"][-1]["cells"]) == ["match", "variety", "clip_kept", "fid", "coco_clip"]
    assert set(written(files, "ponds")[0]["world"]["suite"]) == {"prompts"}


@pytest.mark.parametrize(
    ("changed", "old", "new", "sentence"),
    [
        ("ponds.py", "class Ponds(Suite)", "class Ponds", "is not a suite: its class must inherit from Suite"),
        ("ponds.py", '    summary = "ponds by the targets, and ponds by nobody"\n', "", "lacks summary"),
        ("ponds.py", '"ponds"', '"artists"', "has the name of installed suite 'artists'"),
        ("ponds.py", '"ponds"', '"a/b"', "letters, digits, dots"),
        ("ponds.py", '("coco",)', '("cocoa",)', "Did you mean 'coco'?"),
        ("ponds.py", 'format=".1f")', 'format="x y")', "which prints no number"),
        ("ponds.py", 'format=".1f")', 'format=".1f", higher_is_better=True)', "column 'match' sets higher_is_better"),
        ("ponds.py", "f\"pond-{k}\"", '"pond"', "is used by an earlier prompt: ids must be unique"),
        ("ponds.py", "return ponds + ", "return []; ", "has no prompts"),
        ("ponds.py", "return ponds + ", "return 1 / 0; ", "failed in ponds.py, line 19 (ZeroDivisionError: "),
        ("ponds.py", '("kept",)', '("gone",)', "limited to parts gone"),
        ("ponds.py", '"variety.py:Variety"', '"varied"', "Unknown metric 'varied'"),
        ("ponds.py", '"variety.py:Variety"', '"none.py:Variety"', "does not exist"),
        ("variety.py", "class Variety(Metric)", "class Variety", "inherit from benchmark.api.Metric"),
        ("variety.py", '("features",)', '("sound",)', "reads network 'sound', which testbed 'mini' does not have"),
        ("variety.py", "def per_image", "def per_picture", "computes no value: define per_image or compute"),
        ("variety.py", '{"variety":', '{"varied":', "returned values for varied, but declares columns variety"),
        ("variety.py", ".tolist()", "[1:].tolist()", "returned 6 values of 'variety' for 7 pictures"),
        ("variety.py", ".tolist()", ".mul(float('nan')).tolist()", "returned nan for 'variety'"),
        ("variety.py", "[rows]", "[rows, 0, 0]", "failed in variety.py, line 11 (IndexError"),
    ],
)  # fmt: skip
def test_a_wrong_suite_or_metric_is_one_sentence(files: Path, changed: str, old: str, new: str, sentence: str) -> None:
    path = files / changed
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    suite = f"{files / 'ponds.py'}:Ponds"
    assert sentence in refused(bench(*RUN, "--suite", suite, "--alone", "--runs", str(files / "runs")))


@pytest.mark.parametrize(
    ("changed", "old", "new", "sentence"),
    [
        ("bridges.toml", 'name = "bridges"', "", "setting 'name' is missing"),
        ("bridges.toml", "prompts =", "prompt =", "it has no setting 'prompt' (did you mean 'prompts'?)"),
        ("bridges.toml", "relative = true", "higher_is_better = true", "no setting 'columns.0.higher_is_better'"),
        ("bridges.toml", "[[columns]]", "[[column]]", "it has no setting 'column'"),
        ("bridges.toml", 'name = "bridges"', "name = bridges", "is not TOML"),
        ("bridges.toml", '"bridges.csv"', '"gone.csv"', "gone.csv cannot be read"),
        ("bridges.csv", ",kept,,", ",,,", "the part is empty"),
        ("bridges.csv", "plain-1", "plain/1", "cannot be a file name"),
    ],
)
def test_a_wrong_toml_suite_is_one_sentence(files: Path, changed: str, old: str, new: str, sentence: str) -> None:
    path = files / changed
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    suite = str(files / "bridges.toml")
    assert sentence in refused(bench(*RUN, "--suite", suite, "--runs", str(files / "runs")))


def test_a_cell_that_a_suite_has_already_and_a_figure_of_other_suites_are_refused(files: Path) -> None:
    suite = f"{files / 'ponds.py'}:Ponds"
    asked = (*RUN, "--suite", suite, "--runs", str(files / "runs"))
    assert "both write cell 'variety'" in refused(bench(*asked, "--metric", f"{files / 'variety.py'}:Variety"))
    assert "Unknown metric 'clap'. Did you mean 'clip'?" in refused(bench(*asked, "--metric", "clap"))
    run(files, suite, "--alone")
    records = ("--records", str(files / "runs" / "records"))
    assert "--paper works only for the suites of the paper" in refused(
        bench("table", "--suite", "ponds", "--paper", *records)
    )
    assert "Figure 7 shows suite i2p, mma or ring-a-bell: --suite ponds" in refused(
        bench("figure", "7", "--suite", "ponds", *records)
    )
    losses = bench("figure", "losses", "--suite", "ponds", "--all", *records, "--out", str(files / "losses.png"))
    assert losses.exit_code == 0, losses.output


def test_a_metric_with_two_columns_is_used_on_two_parts_under_prefixed_names(files: Path) -> None:
    metric, suite = files / "variety.py", files / "ponds.py"
    metric.write_text(
        metric.read_text().replace('format=".3f"),)', 'format=".3f"), Column("spread", "spread"))')
        + '\n    def compute(self):\n        return {"spread": float(self.distances.std())}\n'
    )
    twice = '"variety.py:Variety", Use("variety.py:Variety", parts=("kept",), cell="kept", header="kept")'
    suite.write_text(suite.read_text().replace('"variety.py:Variety"', twice))
    printed = run(files, f"{suite}:Ponds", "--alone")
    assert "kept," in printed
    assert "spread" in printed
    cells = shown(files, "ponds")["rows"][-1]["cells"]
    assert (cells["variety"]["n"], cells["kept_variety"]["n"]) == (7, 4)
    assert cells["kept_spread"]["value"] != cells["spread"]["value"]


def test_table_states_how_to_see_runs_with_a_limit(files: Path) -> None:
    run(files, "artists", "--alone", "--limit", "1")
    run(files, "artists", "--alone", "--limit", "2")
    table = ("table", "--all", "--runs", str(files / "runs"))
    notes = " ".join(bench(*table, "--format", "markdown").output.split())
    assert "2 more records are of runs with --limit 1: add --limit 1 to see them." in notes
    assert "with --limit 2: add --limit 2 to see them." in notes
    limited = " ".join(bench(*table, "--limit", "1", "--format", "markdown").output.split())
    assert "add --limit 1" not in limited
    assert "add --limit 2 to see them." in limited
