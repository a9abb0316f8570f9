"""What a stranger's text or list becomes in outputs, and what our own source must never call."""

import ast
import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from record_examples import record, write
from test_cli import bench

from benchmark.errors import DataError, UsageError
from benchmark.export.card import model_card
from benchmark.jobs import folder as jobs
from benchmark.jobs.sbatch_options import Resources
from benchmark.jobs.script import text
from benchmark.models.picture_folder import decode, read_bytes, read_list
from benchmark.tables.markdown_text import without_html
from benchmark.tables.render_csv import guarded
from benchmark.testbeds.stable_diffusion.picture_files import check, read_rgb
from prompts import parquet
from prompts.tables import read_table

ROOT = Path(__file__).parents[1]
SOURCES = [
    path for package in ("benchmark", "methods", "metrics", "prompts") for path in (ROOT / package).rglob("*.py")
]
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml", "runpy", "code"}
"""Modules that run code from files, or unpickle."""
CALLS = {
    "eval",
    "exec",
    "compile",
    "os.system",
    "os.popen",
    "torch.load",
    "np.load",
    "numpy.load",
    "pandas.read_pickle",
}
"""Functions of the same kinds. `torch.load` is allowed in one module, with weights_only=True."""


# our source


def names_called(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_source_unpickles_nothing_and_runs_no_shell(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not MODULES & {name.partition(".")[0] for name in names}
    for name, call in names_called(tree):
        options = {option.arg: ast.unparse(option.value) for option in call.keywords}
        assert options.get("shell", "False") == "False", name
        assert options.get("trust_remote_code", "False") == "False", name
        assert options.get("allow_pickle", "False") == "False", name
        if name == "torch.load":
            assert path.name == "untrusted.py"
            assert options["weights_only"] == "True"
        else:
            assert name not in CALLS, name


def test_search_of_the_source_finds_what_is_forbidden() -> None:
    tree = ast.parse("import torch\ntorch.load('x')\nsubprocess.run('x', shell=True)")
    assert [name for name, _ in names_called(tree)] == ["torch.load", "subprocess.run"]


def test_pictures_of_others_are_opened_in_named_formats() -> None:
    """Pillow runs Ghostscript for EPS files, whatever their suffix is."""
    for path in SOURCES:
        for name, call in names_called(ast.parse(path.read_text("utf-8"))):
            assert name != "Image.open" or "formats" in {option.arg for option in call.keywords}, path


# pictures and lists

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(/tmp/mark) (w) file closefile\n"


def test_postscript_in_a_picture_is_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "check_call", lambda *_, **__: pytest.fail("Ghostscript was called"))
    file = tmp_path / "0.png"
    file.write_bytes(EPS)
    with pytest.raises(DataError, match="Pillow does not know its format"):
        read_rgb(file)
    with pytest.raises(DataError, match="Pillow does not know its format"):
        check(file, EPS)
    with pytest.raises(DataError, match="not a PNG, JPEG or WebP file"):
        decode(EPS, file, 8)


def test_gigantic_picture_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "0.png").open("wb") as opened:
        opened.truncate(1 << 40)
    with pytest.raises(DataError, match="has 1,099,511,627,776 bytes, and at most 268,435,456 are read"):
        read_bytes(tmp_path / "0.png")
    small = io.BytesIO()
    Image.new("1", (16_000, 12_000)).save(small, "PNG")  # 192 megapixels in a few kB
    assert len(small.getvalue()) < 100_000
    with pytest.raises(DataError, match="has more pixels than Pillow decodes"):
        decode(small.getvalue(), tmp_path / "0.png", 64)


@pytest.mark.parametrize("file", ["../x.png", "/x.png", "~/x.png", "C:\\x.png", "a/../../x.png", "..\\x.png"])
def test_list_of_pictures_cannot_name_files_outside(file: str, tmp_path: Path) -> None:
    (tmp_path / "prompts.csv").write_text(f"id,file\na,{file}\n")
    with pytest.raises(DataError, match=r"row 2: the file .* must be in"):
        read_list(tmp_path)


def written(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def test_parquet_bombs_are_refused_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many equal rows, or one long text in many rows, take little space in a file."""
    rows = written(pa.table({"prompt": pa.nulls(parquet.MOST_ROWS + 1)}))
    text_of_a_megabyte = written(pa.table({"prompt": ["x" * 2**20] * 50}))
    monkeypatch.setattr(parquet, "MOST_BYTES", 2**24)
    for data in (rows, text_of_a_megabyte):
        assert len(data) < 2**20 + 2**17
        with pytest.raises(DataError, match=r"is too large .*: give only the rows and columns of the list"):
            read_table(data, Path("list.parquet"), headed=True)


def test_repeated_texts_and_nested_columns_are_read_as_before() -> None:
    table = pa.table({"a": ["x", "x", None], "b": pa.array([b"y", b"y", b"z"]), "c": [[1], [], None], "d": [1, 2, 3]})
    read = parquet.read_parquet(written(table))
    assert read.schema.names == table.schema.names
    assert [read.column(name).to_pylist() for name in "abd"] == [table.column(name).to_pylist() for name in "abd"]
    assert (read.column("c").type, len(read.column("c"))) == (table.column("c").type, 3)


# outputs

HOSTILE = "=cmd|' /C calc'!A0 <script>alert(1)</script> \\input{/etc/passwd} \\write18{id} <!-- end --> | $x^2$"


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    write(tmp_path / "records", record("bilevel").model_copy(update={"label": HOSTILE, "method": "theirs"}))
    return tmp_path


def test_formulas_in_cells_of_a_table_are_not_formulas(shared: Path) -> None:
    lines = list(
        csv.DictReader(
            io.StringIO(bench("table", "--all", "--format", "csv", "--records", str(shared / "records")).stdout)
        )
    )
    labels = [line["label"] for line in lines]
    assert f"'{HOSTILE}" in labels
    assert not [cell for line in lines for cell in line.values() if cell and cell[0] in "=@+"]
    numbers = [-1, -0.5, None, "-", " =1", "+1", "@x", "plain"]
    assert [guarded(value) for value in numbers] == [-1, -0.5, None, "'-", "' =1", "'+1", "'@x", "plain"]


def test_commands_in_labels_are_printed_by_latex_and_not_executed(shared: Path) -> None:
    printed = bench("table", "--all", "--format", "latex", "--records", str(shared / "records")).stdout
    assert "textbackslash{}input" in printed
    assert not re.search(r"\\(input|write|include|immediate|openin)\b", printed)


def test_html_in_labels_is_text_in_pages_and_reports(shared: Path) -> None:
    printed = bench("table", "--all", "--format", "markdown", "--records", str(shared / "records")).stdout
    assert "&lt;script>alert(1)&lt;/script>" in printed
    assert "<!-- end -->" not in printed
    assert bench("report", "--records", str(shared / "records"), "--out", str(shared / "report")).exit_code == 0
    page = (shared / "report" / "index.html").read_text()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert without_html("p < 0.05, a <- b, 1 <2") == "p < 0.05, a <- b, 1 <2"


def test_model_card_quotes_names_and_paths() -> None:
    sampler = {"steps": 25, "guidance": 4.0, "scheduler": "pndm", "latent_channels": 4, "latent_size": 8}
    label = "<img src=x onerror=alert(1)>"
    records = [record("bilevel").model_copy(update={"label": label})]
    card = model_card(records, "mit", sampler, True, False, Path('a") + evil() + ("b'))
    assert "# &lt;img src=x" in card
    code = card.split("```python\n")[1].split("```")[0]
    assert "evil" not in {ast.unparse(node.func) for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)}


# scripts of jobs

SHELL = ["--method", "$(touch mark)`touch mark`;touch mark", "--suite", "a'b\"c&d|e>f", "--targets", "x\ty #z"]


def script(tmp_path: Path, words: list[str], **resources: object) -> Path:
    """Write the script of a run in a folder whose name has characters of the shell."""
    place = tmp_path / "a $(touch mark) 'b'"
    place.mkdir()
    path = place / "001-x.sh"
    path.write_text(text(words, "x-001", path, place, place, Resources(**resources)))  # type: ignore[arg-type]
    return path


def test_shell_characters_in_options_and_paths_are_not_executed(tmp_path: Path, monkeypatch) -> None:
    """The script runs a stand-in for Python that writes down the words that it receives."""
    stand_in = tmp_path / "python"
    stand_in.write_text('#!/bin/bash\nprintf "%s\\0" "$@" > received\n')
    stand_in.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    path = script(tmp_path, SHELL, basis="measured\ntouch mark\r\ntouch mark")
    done = subprocess.run(["bash", str(path)], cwd=path.parent, capture_output=True, text=True, check=False)
    received = (path.parent / "received").read_text().split("\0")
    assert received[: 3 + len(SHELL)] == ["-m", "benchmark", "run", *SHELL], done.stderr
    assert not list(tmp_path.rglob("mark"))


def test_line_break_in_an_option_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="contain a line break: write each option on one line"):
        script(tmp_path, ["--method", "esd\ntouch mark"])


def test_device_name_in_a_rehearsal_cannot_end_a_comment(tmp_path: Path) -> None:
    path = script(tmp_path, ["--method", "esd"], basis="X\n#SBATCH --wrap=id\nrm -r x")
    assert "#SBATCH --wrap" not in [line[:14] for line in path.read_text().splitlines()]
    assert not [line for line in path.read_text().splitlines() if line.startswith("rm")]


def test_foreign_script_with_an_open_quote_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "001-x.sh").write_text("#!/bin/bash\n# bench run --method 'esd\n")
    (job,) = jobs.jobs_of(tmp_path, [["--method", "esd"]])
    assert job.number == "001"


@pytest.mark.parametrize("speed", [float("nan"), -1.0, float("inf"), "x"])
def test_rehearsal_with_impossible_speeds_is_refused(speed: object, tmp_path: Path) -> None:
    from benchmark.cost.estimate import Speeds

    row = {"kind": "train", "error": None, "flops": speed, "seconds": 2.0}
    (tmp_path / "r.json").write_text(json.dumps({"rows": [row], "device": "X", "testbed": "sd21"}))
    with pytest.raises(DataError, match="was not written by `bench rehearse --out`"):
        Speeds.of_rehearsal(tmp_path / "r.json")
