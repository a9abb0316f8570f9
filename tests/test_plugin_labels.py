"""Tables and contact sheets name a plug-in by its class, and keep classes of one name from several files apart."""

from __future__ import annotations

import pytest
from record_examples import record

from benchmark.api.model import Model, TrainingFacts
from benchmark.errors import DataError
from benchmark.generation.run_sheet import _row_label
from benchmark.records.record import Record
from benchmark.tables.compare_units import side_of
from benchmark.tables.over_seeds import over_seeds
from benchmark.tables.select import Found
from benchmark.tables.table1_styles import table


def plug_in(path: str, seed: int = 0, key: str = "", **more: object) -> Record:
    label = "Ridge" if seed == 0 else f"Ridge (seed {seed})"
    return record(f"{path}:Ridge", label=label, seed=seed, model_key=(key or path[0]) * 32, **more)


def labels(*records: Record) -> list[str]:
    return [row.label for row in table(local(*records), "mini", "artists").rows]


def local(*records: Record) -> list[Found]:
    return [(each, "local") for each in records]


def test_a_plug_in_is_labelled_with_its_class_also_in_old_records() -> None:
    old = record("far/away/my.py:Ridge", label="far/away/my.py:Ridge (seed 1)", seed=1)
    assert labels(old) == ["Ridge (seed 1)"]
    setting = "objective=far/away/my.py:Halfway"
    assert labels(record("bilevel", variant=setting, label=f"bilevel ({setting})")) == ["bilevel (objective=Halfway)"]


def test_classes_of_one_name_from_several_files_are_kept_apart() -> None:
    assert sorted(labels(plug_in("a.py"), plug_in("b.py", seed=1))) == ["Ridge (a.py)", "Ridge (b.py) (seed 1)"]
    assert sorted(labels(plug_in("x/my.py"), plug_in("y/my.py"))) == ["Ridge (x/my.py)", "Ridge (y/my.py)"]


def test_a_class_with_the_name_of_a_method_of_this_project_is_marked() -> None:
    own = record("my.py:bilevel", label="bilevel", model_key="1" * 32)
    assert sorted(labels(own, record("bilevel", model_key="2" * 32))) == ["bilevel", "bilevel (my.py)"]


def test_averages_over_seeds_keep_them_apart() -> None:
    records = [plug_in(path, seed, f"{k}{seed}"[-1:]) for k, path in enumerate(("a.py", "b.py")) for seed in (0, 1)]
    rows = over_seeds(table(local(*records), "mini", "artists")).rows
    assert sorted(row.label for row in rows) == ["Ridge (a.py) (2 seeds)", "Ridge (b.py) (2 seeds)"]


def test_a_comparison_does_not_mix_plug_ins_of_one_class_name() -> None:
    entries = local(plug_in("a.py"), plug_in("b.py"), record("uce", model_key="3" * 32))
    with pytest.raises(DataError, match=r"label of 2 plug-ins: name one as `bench table` does, such as 'Ridge \(a"):
        side_of(entries, "mini", "artists", "Ridge")
    [model] = side_of(entries, "mini", "artists", "Ridge (b.py)").models
    assert model.main.method == "b.py:Ridge"
    [model] = side_of(local(plug_in("a.py")), "mini", "artists", "Ridge").models
    assert model.main.method == "a.py:Ridge"


def test_a_comparison_of_a_method_ignores_a_plug_in_of_its_name() -> None:
    own = record("my.py:bilevel", label="bilevel", model_key="1" * 32)
    [model] = side_of(local(own, record("bilevel", model_key="2" * 32)), "mini", "artists", "bilevel").models
    assert model.main.method == "bilevel"


def test_a_contact_sheet_has_one_row_for_each_model() -> None:
    methods = ("distilled", "far/my.py:distilled")
    models = [Model("distilled", {"method": method}, TrainingFacts(method)) for method in methods]
    assert [_row_label(model, models) for model in models] == ["distilled", "distilled (my.py)"]
    assert _row_label(models[1], models[1:]) == "distilled"
