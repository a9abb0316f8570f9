"""Suites: every score equals a plain loop over the rows that it should use."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmark.api.suite import Evidence
from benchmark.stats import bootstrap_interval
from benchmark.suites.artists import Artists
from benchmark.suites.coco import Coco
from prompts.concepts import Concept
from prompts.lists import Prompt

STYLES, CONTENTS = ("plain", "Ada", "Bea"), ("cat", "boat", "none")
CONCEPT = Concept("style", ("Ada",), "art", ("Bea",))


def prompt(k: int, part: str, target: str, content: str, form: str = "") -> Prompt:
    return Prompt(f"{part}-{k}", f"text {k}", k, part, target, content, form)


ROWS = [
    *(prompt(k, "targets", "Ada", CONTENTS[k % 2]) for k in range(6)),
    *(prompt(k, "neighbours", "Bea", "cat") for k in range(6, 9)),
    *(prompt(k, "kept", "Bea", "boat") for k in range(9, 12)),
    *(prompt(k, "implicit", "Ada", "") for k in range(12, 14)),
    *(prompt(k, "probes", "Ada", "cat", "misspelt") for k in range(14, 16)),
    *(prompt(k, "probes", "Ada", "cat", "heldout") for k in range(16, 18)),
]


def distributions(g: torch.Generator, n: int) -> torch.Tensor:
    return torch.cat([torch.rand(n, 3, generator=g).softmax(1), torch.rand(n, 3, generator=g).softmax(1)], 1)


def seen(seed: int, n: int) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    features = {name: torch.randn(n, 5, generator=g) for name in ("clip", "style", "features", "text")}
    return {**features, "oracle": distributions(g, n)}


@pytest.fixture
def evidence() -> Evidence:
    g = torch.Generator().manual_seed(99)
    real = {"Ada": torch.randn(4, 5, generator=g)}
    testbed: Any = SimpleNamespace(
        networks={"clip": "clip-x", "style": "style-x", "features": "features-x", "oracle": "oracle-x"},
        styles=STYLES,
        contents=CONTENTS,
        real_style=lambda artist, store: real[artist],
        real=lambda store: torch.randn(40, 5, generator=torch.Generator().manual_seed(5)),
    )
    base = seen(3, len(ROWS))
    base["oracle"][14:16, :3] = torch.tensor([0.1, 0.8, 0.1])  # the base answers misspelt probes ...
    base["oracle"][16:18, :3] = torch.tensor([0.8, 0.1, 0.1])  # ... but not held-out contents
    store: Any = None
    return Evidence(testbed, store, CONCEPT, ROWS, seen(1, len(ROWS)), seen(2, len(ROWS)), base)


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(float(x) ** 2 for x in a) * sum(float(y) ** 2 for y in b))


def said(evidence: Evidence, row: int) -> str:
    return CONTENTS[int(evidence.own["oracle"][row, 3:].argmax())]


def rows(*parts: str) -> list[int]:
    return [k for k, p in enumerate(ROWS) if p.part in parts]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_scores_equal_plain_loops_over_their_rows(evidence: Evidence) -> None:
    cells = Artists().score(evidence).cells
    own, reference, base = evidence.own, evidence.reference, evidence.base
    texts = own["text"]
    targets, kept = rows("targets"), rows("neighbours", "kept")
    expected = {
        "clip": mean([100 * cosine(own["clip"][k], texts[k]) for k in targets]),
        "cp": 100 * mean([cosine(own["clip"][k], texts[k]) < cosine(reference["clip"][k], texts[k]) for k in targets]),
        "csd": mean([100 * cosine(own["style"][k], reference["style"][k]) for k in targets]),
        "drift": mean([1 - cosine(own["features"][k], base["features"][k]) for k in kept]),
        "target_style": mean([float(own["oracle"][k, 1]) for k in targets]),
        "implicit_style": mean([float(own["oracle"][k, 1]) for k in rows("implicit")]),
        "neighbour_style": mean([float(own["oracle"][k, 2]) for k in rows("neighbours")]),
        "kept_style": mean([float(own["oracle"][k, 2]) for k in kept]),
        "content_target": mean([float(said(evidence, k) == ROWS[k].content) for k in targets]),
        "content_kept": mean([float(said(evidence, k) == ROWS[k].content) for k in kept]),
        "worst_target_style": mean([float(own["oracle"][k, 1]) for k in targets]),
        "csd_real": mean(
            [
                100 * mean([cosine(own["style"][k], r) for r in evidence.testbed.real_style("Ada", None)])
                for k in targets
            ]
        ),
    }
    for name, value in expected.items():
        assert cells[name].value == pytest.approx(value, rel=1e-5, abs=1e-6), name
        assert cells[name].n == cells[name].of, name
    assert cells["clip"].n == 6
    assert cells["kept_style"].n == 6
    assert cells["clip"].back_end == "clip-x"


def test_scores_have_the_right_direction(evidence: Evidence) -> None:
    cells = Artists().score(evidence).cells
    better = {
        name: cells[name].higher_is_better for name in ("clip", "cp", "csd", "target_style", "kept_style", "drift")
    }
    assert better == {
        "clip": False,
        "cp": True,
        "csd": False,
        "target_style": False,
        "kept_style": True,
        "drift": False,
    }
    assert Coco().score(evidence).cells["clip"].higher_is_better is True


def test_probe_score_uses_only_probes_that_the_base_answers(evidence: Evidence) -> None:
    cell = Artists().score(evidence).cells["probe_style"]
    assert (cell.n, cell.of) == (2, 4)
    assert cell.value == pytest.approx(mean([float(evidence.own["oracle"][k, 1]) for k in (14, 15)]), rel=1e-6)


def test_destination_shares_count_the_likeliest_style(evidence: Evidence) -> None:
    cells = Artists().score(evidence).cells
    likeliest = [int(evidence.own["oracle"][k, :3].argmax()) for k in rows("targets")]
    for number, style in enumerate(STYLES):
        assert cells[f"destination/Ada/{style}"].value == pytest.approx(likeliest.count(number) / 6)


def test_per_image_scores_are_in_their_rows_and_average_to_the_score(evidence: Evidence) -> None:
    scores = Artists().score(evidence)
    column = scores.columns["target_style"]
    assert [k for k, value in enumerate(column) if value is not None] == rows("targets")
    assert column[2] == pytest.approx(float(evidence.own["oracle"][2, 1]), rel=1e-6)
    for name, values in scores.columns.items():
        told = [value for value in values if value is not None]
        assert mean(told) == pytest.approx(scores.cells[name].value, rel=1e-5, abs=1e-6), name


def test_likeliest_styles_are_stored_as_names(evidence: Evidence) -> None:
    names = Artists().score(evidence).names["likeliest_style"]
    assert names == [STYLES[int(evidence.own["oracle"][k, :3].argmax())] for k in range(len(ROWS))]


def test_coco_suite_computes_all_of_its_scores(evidence: Evidence) -> None:
    rows_of_coco = [prompt(k, "retention", "", "cat") for k in range(len(ROWS))]
    retention = Evidence(**{**evidence.__dict__, "prompts": rows_of_coco})
    cells = Coco().score(retention).cells
    assert set(cells) == {"clip", "fid", "kid", "drift", "content_plain"}
    assert cells["fid"].value is not None
    assert cells["fid"].value > 0
    found = [int(row[3:].argmax()) for row in evidence.own["oracle"]]
    assert cells["content_plain"].value == pytest.approx(found.count(0) / len(found))
    assert cells["kid"].ci is not None


def test_bootstrap_interval_contains_the_mean_and_is_deterministic() -> None:
    values = [0.0, 1.0, 1.0, 0.0, 1.0, 0.5, 0.25]
    low, high = bootstrap_interval(values) or (0, 0)
    assert low < mean(values) < high
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval([1.0]) is None
    sure = bootstrap_interval([2.0] * 30)
    assert sure == (2.0, 2.0)
