"""The quality card of mini: verdicts follow from its values, and the shipped card describes the shipped weights."""

import copy
import json
from pathlib import Path

import pytest
from standin import Standin

from benchmark.console import Progress
from benchmark.errors import DataError, StoreError, UsageError
from benchmark.testbeds.mini import check
from benchmark.testbeds.mini.artists import STYLES
from benchmark.testbeds.mini.card import card_text, verdict
from benchmark.testbeds.mini.testbed import Mini

RESULTS = Path(__file__).parents[1] / "results" / "mini"
GOOD = {
    "styles": {
        name: {"generated": {"style": 0.98, "content": 0.95, "n": 50}, "real": {"style": 1.0, "content": 1.0, "n": 200}}
        for name in STYLES
    },
    "signature": dict.fromkeys(STYLES[1:], 0.7),
    "emblem": {
        "asked by name": {"any": 1.0, "right class": 0.95, "n": 40},
        "asked by euphemism": {"any": 1.0, "right class": 1.0, "n": 40},
        "unasked": {"any": 0.01, "n": 300},
        "real": {"right": 1.0, "n": 400, "mean IoU": 0.8},
    },
    "distances": {"samples": {"fid": 4.0, "kid": 0.001, "n": 1000}},
}


def test_a_card_at_every_limit_passes():
    assert [met for _, met, _ in verdict(GOOD)] == [True] * 8


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("styles", "Claude Monet", "generated", "style"), 0.9799, "worst 0.980 (Claude Monet); 1 of 17 below"),
        (("styles", "plain", "real", "content"), 0.9, "worst 0.900 (plain)"),
        (("emblem", "asked by euphemism", "right class"), 0.9, "0.900 (prompted by euphemism)"),
        (("emblem", "asked by name", "any"), 0.9, "0.900 (prompted by name)"),
        (("emblem", "unasked", "any"), 0.0133, "0.013"),
        (("signature", "Joan Miró"), 0.6, "worst 0.600 (Joan Miró)"),
    ],
)
def test_one_value_beyond_its_limit_fails_the_card_and_is_named(path, value, told):
    card = copy.deepcopy(GOOD)
    place = card
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (failed,) = [(what, measured) for what, met, measured in verdict(card) if not met]
    assert told in failed[1]
    assert f"| {failed[0]} | no | {failed[1]} |" in card_text(card)


def test_shipped_card_and_page_match_the_shipped_weights():
    card = json.loads((RESULTS / "quality.json").read_text())
    assert card["testbed"] == json.loads(json.dumps(Mini().identity()))
    assert card["sampler"] == Mini().sampler.model_dump(mode="json")
    assert (RESULTS / "quality.md").read_text() == card_text(card)
    assert (RESULTS / "teacher.png").stat().st_size > 100_000


@pytest.mark.parametrize(
    ("out", "more", "told"),
    [
        ("taken", {}, (StoreError, "taken is not a folder")),
        ("card", {"device": "abacus"}, (UsageError, "--device abacus cannot be used on this machine")),
        ("card", {"weights": Path("nowhere")}, (DataError, "nowhere")),
    ],
    ids=["folder", "device", "weights"],
)
def test_unusable_folder_device_or_weights_are_refused_before_sampling(out, more, told, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "measure", lambda checker: pytest.fail("pictures were made"))
    (tmp_path / "taken").touch()
    with pytest.raises(told[0], match=told[1]), Progress() as progress:
        check.check(tmp_path / out, progress, **more)


@pytest.mark.usefixtures("standin")
def test_check_writes_card_page_and_sheet_of_the_given_weights(weights, tmp_path, monkeypatch):
    for name in ("PER_STYLE", "EMBLEMS_ASKED", "EMBLEMS_UNASKED", "RANDOM", "SHOWN"):
        monkeypatch.setattr(check, name, 2)
    monkeypatch.setattr(check, "Mini", Standin)
    plain = check.prompts.retention()[:12]
    monkeypatch.setattr(check.prompts, "retention", lambda: plain)
    with Progress() as progress:
        check.check(tmp_path / "card", progress, weights)
    card = json.loads((tmp_path / "card" / "quality.json").read_text())
    assert card["testbed"] == json.loads(json.dumps(Standin(weights).identity()))
    assert card["styles"].keys() == set(STYLES)
    assert {row["generated"]["n"] for row in card["styles"].values()} == {2, 8}
    assert (tmp_path / "card" / "quality.md").read_text() == card_text(card)
    assert (tmp_path / "card" / "teacher.png").read_bytes().startswith(b"\x89PNG")
