"""Prompts of a command: texts with semicolons, lines, and tables with a column of prompts."""

from pathlib import Path

import pytest

from benchmark.errors import DataError, UsageError
from benchmark.testbeds.mini.artists import ARTISTS
from benchmark.testbeds.mini.figures import FIGURE_PROMPTS as MINI
from prompts.figures import FIGURE_METHODS, FIGURE_PROMPTS
from prompts.texts import GivenPrompt, read_texts, split_texts


def file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_texts_are_split_at_semicolons_and_commas_stay() -> None:
    assert split_texts("a red, bold boat ; a tree;") == [GivenPrompt("a red, bold boat"), GivenPrompt("a tree")]
    for text in ("a;;b", ";a", " ; "):
        with pytest.raises(UsageError, match="contains an empty prompt"):
            split_texts(text)


def test_text_file_has_one_prompt_per_line(tmp_path: Path) -> None:
    path = file(tmp_path, "list.txt", 'a boat, "by" Monet\n\n  a tree\n')
    assert read_texts(path) == [GivenPrompt('a boat, "by" Monet'), GivenPrompt("a tree")]


def test_table_states_seeds_and_parts_and_its_other_columns_are_ignored(tmp_path: Path) -> None:
    rows = 'id,file,text,seed,part,target,suite\nx,x.png,"a boat, red",7,targets,Claude Monet,artists\n'
    assert read_texts(file(tmp_path, "prompts.csv", rows)) == [GivenPrompt("a boat, red", 7, "targets")]
    assert read_texts(file(tmp_path, "other.csv", "prompt\na tree\n")) == [GivenPrompt("a tree")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "words\na tree\n", "row 1: no column is named text or prompt"),
        ("a.csv", "text,seed\na,1\nb\n", "row 3: 1 fields, but the header has 2"),
        ("a.csv", "text,seed\na,1\nb,-4\n", "row 3: the seed is not an integer"),
        ("a.csv", "text,seed\nNaN,1\n", "row 2: the prompt is empty or a missing value"),
        ("a.csv", "text\n", "has no prompts"),
        ("a.txt", "", "has no prompts"),
    ],
)
def test_wrong_file_is_refused_with_its_row(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_texts(file(tmp_path, name, text))


def test_every_figure_has_as_many_prompts_on_mini_as_in_the_paper() -> None:
    assert {name: len(texts) for name, texts in FIGURE_PROMPTS.items()} == {"figure-1": 2, "figure-2": 8, "figure-6": 6}
    assert MINI.keys() == FIGURE_PROMPTS.keys() == FIGURE_METHODS.keys()
    surnames = {artist.surname for artist in ARTISTS}
    for figure, texts in FIGURE_PROMPTS.items():
        assert len(MINI[figure]) == len(texts)
        for own, paper in zip(MINI[figure], texts, strict=True):
            named = {surname for surname in surnames if surname in paper}
            assert named <= {surname for surname in surnames if surname in own}, (own, paper)
