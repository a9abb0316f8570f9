"""`bench report`: a page of sound structure, with the values of the tables, that shows pictures only as it may."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import re
import shlex
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from record_examples import record, write
from report_example import EVIL_PROMPT, HOSTILE, style_records, write_runs
from typer.main import get_group
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.figures.axes import log_ticks
from benchmark.records.record import read_records, read_scores, write_record

ROOT = Path(__file__).parents[1]
COMMITTED = ROOT / "results" / "mini" / "records"
VOID = {"meta", "img", "link", "br", "hr", "input"}


class Page(HTMLParser):
    """The elements of a page, with their attributes and texts; fails where elements are not nested."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text("utf-8")
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.data: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(self.source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        self.data.setdefault(self._open[-1] if self._open else "", []).append(data)

    def all(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        return [a for name, a in self.elements if name == tag and all(a.get(k) == v for k, v in wanted.items())]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def report(*words: str | Path):
    return CliRunner().invoke(app, ["report", *map(str, words)])


def made(runs: Path, out: Path, *words: str) -> Page:
    result = report("--records", runs / "records", "--runs", runs, "--out", out, *words)
    assert result.exit_code == 0, result.output
    return Page(out / "index.html")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def page(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return made(runs, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, float]:
    out = tmp_path_factory.mktemp("committed") / "report"
    began = time.process_time()  # a busy machine must not fail the test
    assert report("--records", COMMITTED, "--runs", out.parent / "none", "--out", out).exit_code == 0
    return Page(out / "index.html"), time.process_time() - began


@pytest.fixture(scope="module", params=["example", "committed"])
def any_page(request: pytest.FixtureRequest) -> Page:
    return request.getfixturevalue("page") if request.param == "example" else request.getfixturevalue("committed")[0]


def test_ids_are_unique_and_every_reference_leads_to_one(any_page: Page) -> None:
    ids = [a["id"] for _, a in any_page.elements if "id" in a]
    assert len(ids) == len(set(ids)) > 50
    for _, attributes in any_page.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            assert set(attributes.get(name, ids[0]).split()) <= set(ids)
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in ids
        assert set(re.findall(r"url\(#([^)]+)\)", " ".join(filter(None, attributes.values())))) <= set(ids)


def test_headings_have_scope_images_have_text_and_plots_have_titles(any_page: Page) -> None:
    assert any_page.all("th")
    assert all(a.get("scope") in ("col", "row") for a in any_page.all("th"))
    assert all(a.get("alt") for a in any_page.all("img"))
    plots = any_page.all("svg")
    assert plots
    assert all(a.get("role") == "img" and (a.get("aria-label") or a.get("aria-labelledby")) for a in plots)
    assert all(a.get("tabindex") == "0" and a.get("aria-label") for a in any_page.all("div", role="region"))


def test_page_loads_nothing_and_forbids_it(any_page: Page) -> None:
    assert "http:" not in any_page.source
    assert "https:" not in any_page.source
    assert not any_page.all("link") + any_page.all("iframe") + any_page.all("object") + any_page.all("base")
    for _, attributes in any_page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:image/"))
    (policy,) = [a["content"] for a in any_page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256("".join(any_page.data["script"]).encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "connect-src" not in policy
    assert not re.search(r"url\((?!#)|@import", "".join(any_page.data["style"]))


def test_html_in_labels_and_prompts_stays_text(page: Page) -> None:
    assert len(page.all("script")) == 1
    assert not [a for a in page.all("img") if not a["src"].startswith("data:")]
    assert HOSTILE in page.text
    assert EVIL_PROMPT in page.text
    assert "<script>alert" not in page.source
    assert any(EVIL_PROMPT in a["alt"] for a in page.all("img"))


def test_leaderboard_has_the_values_intervals_counts_and_directions_of_the_table(runs: Path, page: Page) -> None:
    words = ["table", "--long", "--over-seeds", "--format", "json", "--records", str(runs / "records")]
    rows = json.loads(CliRunner().invoke(app, words).stdout)["rows"]
    table = page.source.split('<table id="board-artists-0:main">')[1].split("</table>")[0]
    for row in rows:
        for key in ("clip", "cp", "csd", "target_style"):
            assert f'data-sort="{row["cells"][key]["value"]}"' in table
    assert '<span class="interval">19.00…23.00</span>' in table
    assert '<span class="count">n=150</span>' in table
    assert re.search(r'data-better="lower" data-name="CLIP"', table)
    assert re.search(r'data-better="higher" data-name="CP"', table)
    assert "bilevel (2 seeds)" in table
    assert "seconds" in table
    assert table.count("Copy commands") == 2  # in the name of the button and in its text, for both seeds of bilevel


def test_plug_in_suites_show_their_declared_columns(page: Page) -> None:
    table = page.source.split('<table id="board-ponds-0:main">')[1].split("</table>")[0]
    assert '<span class="value">12.3</span>' in table
    assert 'data-better="higher" data-name="match"' in table
    assert "does not name the file of suite &#39;ponds&#39;" in page.source


def test_every_run_has_its_command_cost_losses_and_provenance(page: Page) -> None:
    runs = [a for a in page.all("details") if a.get("class") == "run"]
    assert len(runs) == 5 + 3 + 1
    commands = {a["data-copy"] for a in page.all("button") if "data-copy" in a}
    assert "bench run --method bilevel --suite artists --seed 1" in commands
    assert "bench run --method esd --suite mma" in commands
    assert "bench figure tradeoff --suite artists" in {c.partition(" --runs")[0] for c in commands}
    assert len([a for a in page.all("polyline") if a["class"] == "L_CU"]) == 4
    for text in ("0123456789abcdef, with changes", "2.15.0", "3.12.1", "2,048"):
        assert text in page.text


@pytest.mark.parametrize(
    ("lowest", "highest", "ticks"),
    [
        (0.24, 0.73, [0.3, 0.4, 0.5, 0.6, 0.7]),
        (0.001, 0.9, [0.001, 0.01, 0.1]),
        (0.09, 3.0, [0.1, 0.2, 0.5, 1, 2]),
        (0.41, 0.49, [0.41, 0.49]),
        (1e-12, 1.0, [1e-12, 1e-9, 1e-6, 1e-3, 1.0]),
    ],
)
def test_axis_of_losses_has_round_numbers(lowest: float, highest: float, ticks: list[float]) -> None:
    assert log_ticks(math.log10(lowest), math.log10(highest)) == pytest.approx(ticks)


def test_plots_have_real_text_no_comments_and_their_numbers_as_a_table(any_page: Page) -> None:
    assert any_page.source.count('class="plot"') >= 2
    assert "style of the targets (left is forgotten)" in any_page.data["text"]
    assert "<!--" not in any_page.source
    assert "$" not in any_page.source.split("<script")[0]  # mathematical notation of matplotlib would be shown as code
    assert "Numbers of the plot: Damage against forgetting" in any_page.text


def grid(page: Page, name: str) -> list[str]:
    """The rows of a picture grid, as source."""
    return page.source.split(f'<table id="{name}">')[1].split("</table>")[0].split("<tr>")[2:]


def test_every_command_on_the_page_is_one_that_bench_accepts(any_page: Page) -> None:
    commands = {line for a in any_page.all("button") for line in a.get("data-copy", "").splitlines()}
    assert len(commands) > 10
    group = get_group(app)
    for command in commands:
        name, *words = shlex.split(command)[1:]
        group.commands[name].make_context(name, words)


def test_pictures_are_those_of_the_best_median_and_worst_prompts_for_all_models(page: Page) -> None:
    rows = grid(page, "board-artists-0:artists-erased")
    ranks = [re.search(r'class="rank">(\w+)<', row)[1] for row in rows]
    seeds = [int(re.search(r"· seed (\d+)", row)[1]) for row in rows]
    assert ranks == ["best", "best", "median", "median", "worst", "worst"]
    assert seeds == [108, 107, 105, 104, 101, 100]  # the target style of the example falls with the seed
    kept = [int(re.search(r"· seed (\d+)", row)[1]) for row in grid(page, "board-artists-0:artists-kept")]
    assert kept == [206, 205, 204, 203, 201, 200]
    assert all(row.count("<img ") == 4 for row in rows)
    assert all(len(set(re.findall(r'alt="[^"]*seed (\d+)"', row))) == 1 for row in rows)
    assert "target style 0.9" in page.text
    assert [page.text.index(side) for side in ("Erased: prompts", "Kept: prompts")] == sorted(
        page.text.index(side) for side in ("Erased: prompts", "Kept: prompts")
    )


def decoded(uri: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as picture:
        return np.asarray(picture.convert("RGB")).astype(float)


def explicit_pictures(page: Page) -> list[np.ndarray]:
    found = [decoded(a["src"]) for a in page.all("img") if "mma-" in a["alt"]]
    assert len(found) == 9
    return found


def test_explicit_pictures_are_blurred_and_their_prompts_are_not_repeated(page: Page) -> None:
    assert all(np.ptp(pixels[8:-8, 8:-8, 0]) < 60 for pixels in explicit_pictures(page))
    plain = [decoded(a["src"]) for a in page.all("img") if "targets-" not in a["alt"] and "mma-" not in a["alt"]]
    assert all(np.ptp(pixels[..., 0]) > 200 for pixels in plain)
    assert "secret words" not in page.source
    assert "they may be explicit" in page.text


def test_reveal_shows_explicit_pictures_to_their_owner_and_logs_it(tmp_path: Path) -> None:
    runs = write_runs(tmp_path / "runs")
    shown = made(runs, tmp_path / "report", "--reveal")
    assert all(np.ptp(pixels[..., 0]) > 200 for pixels in explicit_pictures(shown))
    assert "secret words" not in shown.source
    assert (tmp_path / "report").stat().st_mode & 0o077 == 0
    assert "index.html" in (runs / "revealed.txt").read_text()


@pytest.mark.usefixtures("standin")
def test_pictures_and_prompts_of_a_real_run_are_shown(finished: Path, tmp_path: Path) -> None:
    shown = made(finished, tmp_path / "report", "--all")
    rows = grid(shown, "board-artists-0:artists-erased")
    assert all(row.count("<img ") == 3 for row in rows)
    assert any("by Vincent van Gogh" in row or "by Claude Monet" in row for row in rows)
    assert "(plain captions)" in shown.text


def test_picture_of_a_different_prompt_is_never_shown(tmp_path: Path) -> None:
    """A later run can link a picture of a different prompt under the same id."""
    runs = write_runs(tmp_path / "runs")
    shard = runs / "artefacts" / "images" / "esd-0-artists" / "artefact.json"
    identity = json.loads(shard.read_bytes())
    identity["identity"]["prompts"][8][0] = "a different boat"
    identity["identity"]["prompts"][7][1] = 999
    shard.write_text(json.dumps(identity))
    (runs / "artefacts" / "images" / "bilevel-0-artists" / "08.png").write_bytes(b"damaged")
    rows = {
        int(re.search(r"· seed (\d+)", row)[1]): row
        for row in grid(made(runs, tmp_path / "report"), "board-artists-0:artists-erased")
    }
    assert rows[108].count("<img ") == 2
    assert rows[108].count("no picture") == 2
    assert 107 not in rows  # esd has no picture of it, and other prompts have pictures of all models


def test_pictures_outside_the_runs_folder_are_not_read(tmp_path: Path) -> None:
    runs = write_runs(tmp_path / "runs")
    for path in (runs / "records").glob("*.record.json"):
        path.write_text(re.sub(r'"images": "images/', f'"images": "{tmp_path}/runs/images/', path.read_text()))
    assert not made(runs, tmp_path / "report").all("img")


def test_pictures_of_every_pruning_have_the_labels_of_the_leaderboard(tmp_path: Path) -> None:
    runs = write_runs(tmp_path / "runs")
    pruned = [r for r in read_records([runs / "records"]) if r.suite == "artists" and r.method == "bilevel"]
    for small in (r.model_copy(update={"macs": 0.55, "budget": {"flops": 1e15, "default": True}}) for r in pruned):
        write_record(runs / "records", small, read_scores(pruned[0]))
    shown = made(runs, tmp_path / "report")
    assert "artists: all prunings" in shown.text
    heads = shown.source.split('<table id="board-artists-1:artists-erased">')[1].split("</thead>")[0]
    assert "bilevel</th>" in heads
    assert "bilevel · magnitude 0.55</th>" in heads
    assert "There are no pictures of these runs" not in shown.source.split('id="board-artists-1"')[1].split("<h2")[0]


def test_records_without_pictures_name_the_command_that_makes_them(tmp_path: Path) -> None:
    style_records(tmp_path / "runs", pictures=False)
    shown = made(tmp_path / "runs", tmp_path / "report")
    assert not shown.all("img")
    assert "There are no pictures of these runs in the runs folder." in shown.text
    assert "Commands like this one make them: bench run --method bilevel --suite artists" in shown.text


def test_limited_runs_have_their_own_page_and_commands(tmp_path: Path) -> None:
    values = {"artists": {"target_style": 0.5, "kept_style": 0.9}}
    limited = record("esd", values=values, sampler={"steps": 20, "limit": 4})
    write(tmp_path / "records", limited, record("distilled", values=values))
    shown = made(tmp_path, tmp_path / "report", "--limit", "4")
    commands = {a["data-copy"] for a in shown.all("button") if "data-copy" in a}
    assert "bench run --method esd --suite artists --limit 4" in commands
    assert any(command.startswith("bench table --suite artists --long --over-seeds --limit 4 ") for command in commands)
    assert "Damage against forgetting" in shown.text
    assert any(command.startswith("bench figure tradeoff --suite artists --limit 4 ") for command in commands)
    assert len([a for a in shown.all("details") if a.get("class") == "run"]) == 1


def test_records_that_fill_no_plot_make_a_page_without_plots(tmp_path: Path) -> None:
    write(tmp_path / "records", record("esd", values={"artists": {"target_style": 0.5}}))
    shown = made(tmp_path, tmp_path / "report")
    assert not shown.all("svg")
    assert "0.500" in shown.text


def test_too_many_pictures_are_left_out_with_a_sentence(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.report.stored_pictures.MOST_BYTES", 5000)
    shown = made(runs, tmp_path / "report")
    assert 0 < sum(len(a["src"]) for a in shown.all("img")) <= 5000
    assert "pictures were left out, because the page would be too large" in shown.text


def test_committed_records_make_a_small_page_with_every_run(committed: tuple[Page, float]) -> None:
    shown, seconds = committed
    assert len(shown.source.encode()) <= 15_000_000
    assert seconds <= 20
    folders = {r.images.rpartition("/")[0] for r in read_records([COMMITTED])}
    assert all(folder in shown.text for folder in folders)
    for board in ("artists-0", "artists-1", "i2p-0", "mma-0", "ring-a-bell-0", "attacks"):
        assert f'id="board-{board}:main"' in shown.source
    assert "There are no pictures of these runs" in shown.text


def test_same_records_make_the_same_page(runs: Path, page: Page, tmp_path: Path) -> None:
    assert made(runs, tmp_path / "again").source == page.source


def test_a_folder_that_is_not_a_report_is_refused_and_stays(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    result = report("--records", runs / "records", "--out", tmp_path)
    assert result.exit_code == 2
    assert "holds files and is not a report: name an empty folder, or a new one." in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    (tmp_path / "index.html").write_text("<p>my home page</p>")
    assert report("--records", runs / "records", "--out", tmp_path).exit_code == 2
    assert (tmp_path / "index.html").read_text() == "<p>my home page</p>"
    assert "is not a folder" in report("--records", runs / "records", "--out", tmp_path / "thesis.tex").output


def test_an_older_report_is_replaced_and_survives_a_failure(runs: Path, tmp_path: Path) -> None:
    before = made(runs, tmp_path / "report").source
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "x.record.json").write_text("{")
    result = report("--records", tmp_path / "broken", "--out", tmp_path / "report")
    assert result.exit_code == 2
    assert "is damaged" in result.output
    assert (tmp_path / "report" / "index.html").read_text() == before
    after = made(runs, tmp_path / "report", "--all").source
    assert after != before
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["index.html"]


def test_records_with_other_settings_alone_are_named_in_the_error(tmp_path: Path) -> None:
    write(tmp_path / "records", record("esd", budget={"flops": 5e12, "default": False}))
    result = report("--records", tmp_path / "records", "--out", tmp_path / "report")
    assert result.exit_code == 2
    assert "with other settings: add --all" in result.output
    assert not (tmp_path / "report").exists()
    assert report("--records", tmp_path / "records", "--out", tmp_path / "report", "--all").exit_code == 0
