"""LaTeX tables: complete, escaped, with the best values in bold; they compile where a LaTeX is installed."""

import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from record_examples import TARGETS, cell, record
from test_cli import bench

from benchmark.records.record import Record, scores_table, write_record
from benchmark.tables.best import best_rows
from benchmark.tables.latex_text import escape, needs_unicode_fonts, number
from benchmark.tables.over_seeds import over_seeds
from benchmark.tables.render_latex import print_latex
from benchmark.tables.select import Found
from benchmark.tables.table import Table
from benchmark.tables.table1_styles import table

RECORDS = ["--records", str(Path(__file__).parents[1] / "results" / "mini" / "records")]
NASTY = [
    r"a_b % c & d # e {f} \g ~ ^ $h$", "[5pt] first", "*star", r"\end{tabular}", "p=0.5 <x> | `y` \"z\"", "--all ---",
    "Ærø Đặng".replace("ặ", "a"), "line\nbreak\ttab \x07bell", "résumé · a → b … ±", "}{", "%", "\\",
]  # fmt: skip
COMMANDS = {
    "table": ["table"],
    "paper": ["table", "--paper"],
    "seeds": ["table", "--over-seeds", "--long"],
    "prunings": ["table", "--pruning", "all"],
    "table 2": ["table", "2", "--over-seeds", "--paper"],
    "table 3": ["table", "3"],
    "compare": ["compare", "bilevel", "esd", "--long", "--non-inferiority"],
}


def latex(shown: Table) -> str:
    out = io.StringIO()
    print_latex(shown, out)
    return out.getvalue()


def local(*records: Record) -> list[Found]:
    return [(each, "local") for each in records]


def check_structure(text: str) -> int:
    """Check that braces and environments are balanced, and that all lines have the columns of their `tabular`."""
    code = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    bare = re.sub(r"\\[{}$&%#_\\]", "", code.replace("\\\\\n", "\n"))
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert bare.count("$") % 2 == 0
    assert "%" not in bare
    opened = re.findall(r"\\begin\{(\w+)\}", code)
    assert sorted(opened) == sorted(re.findall(r"\\end\{(\w+)\}", code))
    assert set(opened) == {"table", "tabular"}
    for required in (r"\caption{", r"\label{tab:", r"\toprule", r"\midrule", r"\bottomrule"):
        assert code.count(required) >= opened.count("table")
    lines = 0
    for form, body in re.findall(r"\\begin\{tabular\}\{@\{\}([^\n]+)@\{\}\}\n(.*?)\\end\{tabular\}", code, re.DOTALL):
        count = len(re.sub(r"p\{.*?\}", "l", form))
        rows = [line for line in body.splitlines() if not re.fullmatch(r"\\(top|mid|bottom)rule", line)]
        for row in rows:
            assert row.endswith(r" \\")
            assert len(re.findall(r"(?<!\\)&", row)) == count - 1
        lines += len(rows)
    return lines


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_every_table_is_complete_latex(words: list[str]) -> None:
    result = bench(*words, *RECORDS, "--format", "latex")
    assert result.exit_code == 0, result.output
    assert check_structure(result.stdout) > 5
    assert result.stdout.startswith(r"% Needs \usepackage{booktabs}")
    assert r"$\downarrow$" in result.stdout
    assert r"\pm" in result.stdout
    assert "mini" in result.stdout.partition(r"\caption{")[2].partition("\n")[0]


@pytest.mark.parametrize("label", NASTY)
def test_labels_with_special_characters_are_escaped(label: str) -> None:
    text = latex(table(local(record("bilevel", label=label), record("esd")), "mini", "artists"))
    assert check_structure(text) == 3
    assert all(line.startswith(("%", "\\", " &", "esd &", escape(label)[:1])) or not line for line in text.splitlines())


@pytest.mark.skipif(not shutil.which("pdflatex") and not shutil.which("tectonic"), reason="no LaTeX is installed")
def test_tables_compile(tmp_path: Path) -> None:
    parts = [bench(*words, *RECORDS, "--format", "latex").stdout for words in COMMANDS.values()]
    parts.append(
        latex(table(local(*(record("bilevel", label=f"{k} {x}") for k, x in enumerate(NASTY))), "mini", "artists"))
    )
    for label in NASTY:  # at the beginning of a line of a table
        parts.append(latex(table(local(record("esd", label=label)), "mini", "artists")))
    head = "\\documentclass{article}\n\\usepackage{booktabs}\n\\usepackage[T1]{fontenc}\n\\begin{document}\n"
    body = "\\clearpage\n".join(re.sub(r"\\label\{.*\}\n", "", part) for part in parts)
    (tmp_path / "all.tex").write_text(f"{head}{body}\\end{{document}}\n", "utf-8")
    tool = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error"] if shutil.which("pdflatex") else ["tectonic"]
    done = subprocess.run([*tool, "all.tex"], cwd=tmp_path, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "all.pdf").stat().st_size > 10_000


def test_text_is_printed_as_it_is() -> None:
    assert escape("50 % & #1_a") == r"50 \% \& \#1\_a"
    assert escape("--all – x") == "-{}-all -- x"
    assert escape("a\n b\x00\u200b") == "a b"
    assert escape("e\u0301") == "é"
    assert number("2.19e+13") == r"2.19 \times 10^{13}"
    assert number("-1e-05") == r"-1 \times 10^{-5}"


def test_characters_that_pdflatex_lacks_are_named_in_the_comment() -> None:
    assert needs_unicode_fonts("né → Ħ 葛飾") == "Ħ葛飾"
    text = latex(table(local(record("bilevel", label="葛飾北斎")), "mini", "artists"))
    assert "% pdfLaTeX cannot print 葛 飾 北 斎: use XeLaTeX" in text
    assert "pdfLaTeX cannot print" not in latex(table(local(record("bilevel")), "mini", "artists"))


def scored(folder: Path, method: str, clips: list[float], **more) -> Record:
    """A written record whose value of `clip` is the mean over its prompts."""
    spread = (min(clips), max(clips))
    clip = cell("clip", sum(clips) / len(clips), len(clips), ci=more.pop("ci", spread))
    values = {"clip": clip, **more.pop("values", {})}
    ids = [f"p{k}" for k in range(len(clips))]
    scores = scores_table(ids, ["targets"] * len(ids), TARGETS[:1] * len(ids), list(range(len(ids))), {"clip": clips})
    return write_record(folder, record(method, values=values, **more), scores)


def bold(shown: Table, key: str = "clip") -> list[str]:
    return [shown.rows[k].label for k in sorted(best_rows(shown)[key].rows)]


def test_rows_that_the_paired_test_does_not_tell_from_the_best_are_bold(tmp_path: Path) -> None:
    """`uce` is always a little worse than `esd`, whose interval contains it; `bilevel` is sometimes better."""
    best = [float(k % 7) for k in range(20)]
    always_worse = [value + 0.5 for value in best]
    equally_good = [value + (0.6 if k % 2 else -0.5) for k, value in enumerate(best)]
    found = local(
        scored(tmp_path, "esd", best), scored(tmp_path, "uce", always_worse), scored(tmp_path, "bilevel", equally_good)
    )
    shown = table(found, "mini", "artists")
    assert bold(shown) == ["esd", "bilevel"]
    assert best_rows(shown)["clip"].rules == {"paired"}
    text = latex(shown)
    assert re.search(r"^esd & \$\\mathbf\{", text, re.MULTILINE)
    assert not re.search(r"^uce & \$\\mathbf\{", text, re.MULTILINE)


def test_seeds_are_paired_by_prompt(tmp_path: Path) -> None:
    """With two seeds, a test over pairs of runs cannot reject anything; prompts averaged over both seeds can."""
    best = [float(k % 7) for k in range(20)]
    found = [
        scored(tmp_path, method, [value + shift + seed for value in best], seed=seed)
        for method, shift in (("esd", 0.0), ("uce", 0.5))
        for seed in (0, 1)
    ]
    shown = over_seeds(table(local(*found), "mini", "artists"))
    assert [row.label for row in shown.rows] == ["esd (2 seeds)", "uce (2 seeds)"]
    assert bold(shown) == ["esd (2 seeds)"]


def test_values_without_a_paired_test_are_bold_if_their_intervals_overlap() -> None:
    values = {
        "esd": (4.0, (3.0, 5.0)),
        "uce": (5.5, (4.5, 6.5)),
        "bilevel": (9.0, (8.0, 10.0)),
        "distilled": (9.0, None),
    }
    found = [
        record(method, "coco", values={"fid": cell("fid", fid, 1000, suite="coco", ci=ci)})
        for method, (fid, ci) in values.items()
    ]
    shown = table(local(*found), "mini", "coco")
    assert bold(shown, "fid") == ["esd", "uce"]
    assert best_rows(shown)["fid"].rules == {"intervals", "neither"}
    assert "Values without test and interval are bold only if they are the best (COCO FID)" in latex(shown)


def test_own_sampler_is_not_tested_by_prompt(tmp_path: Path) -> None:
    best = [float(k % 7) for k in range(20)]
    sampled = scored(tmp_path, "esd", best)
    own = scored(
        tmp_path, "theirs", [value + 0.5 for value in best], sampler={"own_sampler": True}, pruning="brought", macs=1.0
    )
    shown = table(local(sampled, own), "mini", "artists")
    assert sorted(bold(shown)) == ["esd", "theirs"]
    assert best_rows(shown)["clip"].rules == {"intervals"}


def test_rows_that_cannot_be_compared_are_not_ranked() -> None:
    munch = {"kind": "style", "targets": ["Edvard Munch"], "anchor": "a painting", "neighbours": []}
    targets = table(local(record("esd"), record("esd", concept=munch)), "mini", "artists", everything=True)
    assert best_rows(targets)["clip"].why_none == "different targets"
    references = [record("esd", reference_key="a"), record("bilevel", reference_key="b")]
    shown = table(local(*references), "mini", "artists")
    assert best_rows(shown)["cp"].why_none == "different reference models"
    assert best_rows(shown)["clip"].rows
    assert "No value is bold in CP, CSD: different reference models." in latex(shown)


def test_the_reference_is_never_the_best_in_scores_relative_to_itself() -> None:
    values = {"artists": {"clip": 30.0, "csd": 10.0}}
    found = local(record("distilled", values={"artists": {"clip": 20.0, "csd": 0.0}}), record("bilevel", values=values))
    shown = table(found, "mini", "artists")
    assert bold(shown, "csd") == ["bilevel"]
    assert bold(shown, "clip") == ["distilled"]


def test_another_threshold_is_not_tested_on_the_scores_of_the_default_one() -> None:
    """The records store which images are explicit at 0.5 only."""
    from benchmark.tables.select import gather
    from benchmark.tables.table2_3_explicit import table2

    entries = gather("mini", Path("runs"), [Path(RECORDS[1])])
    usual, strict = (table2(entries, "mini", threshold=threshold, paper=False) for threshold in (0.5, 0.9))
    assert best_rows(usual)["mma_resilience"].rules == {"paired"}
    assert best_rows(usual)["mma_resilience"].rows == best_rows(usual)["mma_explicit"].rows
    assert "paired" not in best_rows(strict)["mma_explicit"].rules
