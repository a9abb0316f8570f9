"""A report in a real browser: sorting, copying, the keyboard, contrast, narrow and wide windows, light and dark.

Needs node, Chromium, and a folder with the npm packages playwright-core and axe-core:

    npm install --prefix /tmp/browser playwright-core axe-core
    PALIMPSEST_BROWSER_MODULES=/tmp/browser pytest -m browser

PALIMPSEST_SCREENSHOTS names a folder for pictures of the page.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from report_example import write_runs
from typer.testing import CliRunner

from benchmark.cli.app import app

DRIVER = Path(__file__).parent / "browser" / "check_report.mjs"
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
NODE = shutil.which("node")
MODULES = os.environ.get("PALIMPSEST_BROWSER_MODULES", "")
WINDOWS = [(400, "light"), (400, "dark"), (1400, "light"), (1400, "dark")]
MISSING = [
    reason
    for reason, is_missing in (
        (f"{CHROMIUM} is not installed", not Path(CHROMIUM).exists()),
        ("node is not installed", NODE is None),
        ("PALIMPSEST_BROWSER_MODULES names no folder with playwright-core and axe-core", not MODULES),
    )
    if is_missing
]
pytestmark = [pytest.mark.browser, pytest.mark.skipif(bool(MISSING), reason="; ".join(MISSING))]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, str], dict[str, Any]]:
    """What the driver found, by width and colour scheme."""
    home = write_runs(tmp_path_factory.mktemp("runs"))
    out = tmp_path_factory.mktemp("report")
    words = ["report", "--records", str(home / "records"), "--runs", str(home), "--out", str(out)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    command = [str(NODE), str(DRIVER), MODULES, CHROMIUM, str(out / "index.html")]
    command += filter(None, [os.environ.get("PALIMPSEST_SCREENSHOTS")])
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return {(window["width"], window["colorScheme"]): window for window in json.loads(done.stdout)}


@pytest.fixture(params=WINDOWS, ids=[f"{width}-{scheme}" for width, scheme in WINDOWS])
def window(request: pytest.FixtureRequest, seen: dict[tuple[int, str], dict[str, Any]]) -> dict[str, Any]:
    return seen[request.param]


def test_page_has_no_error_and_asks_the_network_for_nothing(window: dict[str, Any]) -> None:
    assert window["errors"] == []
    assert window["requests"] == []


def test_all_pictures_are_drawn_before_they_are_scrolled_to(window: dict[str, Any]) -> None:
    assert window["images"] > 50
    assert window["blank"] == 0


def test_nothing_is_wider_than_the_window_and_text_is_readable(window: dict[str, Any]) -> None:
    assert window["overflow"] == 0
    assert window["smallest"] >= 12
    is_dark = window["background"] == "rgb(22, 24, 28)"
    assert is_dark == (window["colorScheme"] == "dark")


def test_columns_are_sorted_by_click_and_by_keyboard(window: dict[str, Any]) -> None:
    orders = [order for order, _ in window["sorted"]]
    assert orders == ["ascending", "descending", "ascending"]  # lower is better, so the first order is ascending
    values = [float(value) for value in window["sorted"][0][1]]
    assert values == sorted(values)
    assert len(set(values)) > 2
    assert [float(value) for value in window["sorted"][1][1]] == values[::-1]
    assert window["sorted"][2][1] == window["sorted"][0][1]
    assert window["status"] == "Sorted by CLIP, ascending."


def test_commands_are_copied_and_links_open_their_run(window: dict[str, Any]) -> None:
    shown, copied = window["copied"]
    assert copied == shown
    assert shown.startswith("bench report ")
    assert window["opened"] == 1


def test_pictures_show_prompt_and_scores_by_focus_and_by_hover(window: dict[str, Any]) -> None:
    tip = window["tip"]
    assert tip["shown"]
    assert tip["inside"]
    assert tip["hidden"]
    assert tip["hovered"]
    assert "seed" in tip["text"]
    assert "target style" in tip["text"]


def test_every_control_is_reached_with_the_tab_key(window: dict[str, Any]) -> None:
    assert window["controls"] > 100
    assert window["unreached"] == []


def test_accessibility_checker_finds_nothing_serious(window: dict[str, Any]) -> None:
    assert [finding for finding in window["findings"] if finding["impact"] in ("serious", "critical")] == []
