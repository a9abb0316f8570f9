"""Concepts and prompt lists: valid input is read exactly, and invalid input is refused."""

import pytest

import prompts.lists
from benchmark.errors import DataError, UsageError
from benchmark.store.artefacts import key_of
from benchmark.testbeds.stable_diffusion.artists import artists
from prompts.concepts import Concept
from prompts.lists import Prompt, read_prompts, write_prompts

ROOT = prompts.lists.Path(prompts.lists.__file__).parent
HEAD = "id,text,seed,part,target,content\n"


# concepts


def test_concept_identity_can_be_part_of_a_key():
    concept = Concept("style", ("Claude Monet", "Pablo Picasso"), "art", ("Paul Signac",))
    assert concept.identity() == {
        "kind": "style",
        "targets": ["Claude Monet", "Pablo Picasso"],
        "anchor": "art",
        "neighbours": ["Paul Signac"],
    }
    assert key_of("unet", concept.identity()) != key_of("unet", Concept("style", ("Claude Monet",), "art").identity())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("style", (), "art"), "needs at least one target"),
        (("style", ("Monet", " "), "art"), "targets is empty"),
        (("style", ("Monet", "monet"), "art"), "'monet' twice"),
        (("style", ("Claude Monet", "Claude  Monet "), "art"), "twice"),
        (("style", ("Monet",), " MONET"), "is also a target"),
        (("style", ("Paul Cézanne", "paul cezanne"), "art"), "twice"),
        (("style", ("Paul Cézanne",), "Paul Ce\u0301zanne"), "is also a target"),
        (("style", ("Joan Miró",), "art", ("Joan Miro,",)), "both a target and a neighbour"),
        (("style", ("Monet",), "art", ("monet",)), "both a target and a neighbour"),
        (("style", ("Monet",), "art", ("Signac", "signac")), "neighbours contain 'signac' twice"),
        (("style", "Monet", "art"), "tuple of phrases, not 'Monet'"),
        (("styles", ("Monet",), "art"), "one of style, explicit, object"),
    ],
)
def test_inconsistent_concept_is_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        Concept(*arguments)


def test_the_empty_prompt_may_be_an_anchor():
    assert Concept("explicit", ("nudity",), "").anchor == ""


def test_phrases_without_letters_are_distinguished():
    assert Concept("object", ("★", "♥"), "").targets == ("★", "♥")


# lists


def written(tmp_path, text: str | bytes):
    path = tmp_path / "list.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("target", ["", 'Édouard "the" Artist, Jr.'])
def test_prompts_round_trip_through_a_file(tmp_path, target):
    prompts = [
        Prompt("a", ' a "fish", by\nnobody ', 0, "targets", target),
        Prompt("b", "Café — 星月夜", 2**63 - 1, "kept", target, "fish"),
    ]
    write_prompts(tmp_path / "list.csv", prompts)
    assert read_prompts(tmp_path / "list.csv") == prompts


def test_columns_may_be_in_any_order_and_optional_ones_missing(tmp_path):
    assert read_prompts(written(tmp_path, "seed,part,id,text\n7,kept,x,a fish\n\n")) == [
        Prompt("x", "a fish", 7, "kept")
    ]


def test_byte_order_mark_is_not_part_of_the_header(tmp_path):
    text = b"\xef\xbb\xbf" + (HEAD + "x,a fish,7,kept,,\n").replace("\n", "\r\n").encode()
    assert read_prompts(written(tmp_path, text)) == [Prompt("x", "a fish", 7, "kept")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: its first row must be a header"),
        ("\n\n", "is empty"),
        (HEAD, "has a header but no prompts"),
        (
            "id,text,seed\nx,a,1\n",
            "row 1: the column 'part' is missing; required are id, text, seed, part, optional are target, content",
        ),
        ("id,text,seed,part,promt\nx,a,1,k,\n", "row 1: the column 'promt' is unknown"),
        ("id,text,seed,part,id\nx,a,1,k,y\n", "row 1: the column 'id' is there twice"),
        (HEAD + "x,a,1,kept,,\ny,a fish, red,1,kept,,\n", "row 3: 7 fields, but the header has 6"),
        (HEAD + "x,a,1,kept,,\n\ny,a,1,kept,,\n", "row 3: 0 fields"),
        (HEAD.replace(",", ";") + "x;a;1;kept;;\n", "row 1: its columns are separated by semicolons"),
        (HEAD + "x, ,1,kept,,\n", "row 2: the text is empty"),
        (HEAD + "x,NaN,1,kept,,\n", "row 2: the text is 'NaN', which means a missing value"),
        (HEAD + ",a,1,kept,,\n", "row 2: the id is empty"),
        (HEAD + "x,a,1,,,\n", "row 2: the part is empty"),
        (HEAD + 'x,"two\nlines",1,kept,,\nx,b,2,kept,,\n', "row 3: the id 'x' is already used in row 2"),
        (HEAD + "x,a,-1,kept,,\n", "row 2: the seed '-1' is not an integer"),
        (HEAD + "x,a,1.0,kept,,\n", "row 2: the seed '1.0'"),
        (HEAD + "x,a,,kept,,\n", "row 2: the seed ''"),
        (HEAD + "x,a,٣,kept,,\n", "row 2: the seed"),
        (HEAD + f"x,a,{2**63},kept,,\n", "row 2: the seed"),
        (HEAD.encode() + b"x,a,1,kept,,\ny,caf\xe9,1,kept,,\n", "row 3: the text is not UTF-8"),
        (HEAD + 'x,"a,1,kept,,\n', "row 2: not valid CSV from line 2 on"),
    ],
)
def test_invalid_list_is_refused_with_file_and_row(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        read_prompts(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_whitespace_in_names_is_normalised(tmp_path):
    rows = HEAD + "x,a,1,targets, Claude  Monet ,\ny,b,2,targets ,Claude\u00a0Monet,\n"
    assert {(row.part, row.target) for row in read_prompts(written(tmp_path, rows))} == {("targets", "Claude Monet")}


def test_painter_with_two_spellings_is_refused(tmp_path):
    for first, second in (("Claude Monet", "claude monet"), ("Andr\u00e9 Derain", "Andre\u0301 Derain")):
        path = written(tmp_path, HEAD + f"x,a,1,targets,{first},\ny,b,2,targets,{second},\nz,c,3,kept,Bo,\n")
        with pytest.raises(DataError, match=rf"list\.csv, y: the painter '{second}' is spelt '{first}' in another row"):
            artists(path)


def test_missing_list_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.csv cannot be read \(No such file"):
        read_prompts(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="cannot be read"):
        read_prompts(tmp_path)


def test_artists_list_has_fifty_unique_titles_per_target_and_unique_seeds():
    every = read_prompts(ROOT / "artists_sd21.csv")
    rows = [row for row in every if row.part == "targets"]
    names = ("Vincent van Gogh", "Claude Monet", "Pablo Picasso")
    assert len(rows) == 150
    for name in names:
        mine = [row for row in rows if row.target == name]
        titles = {row.text.removesuffix(f" by {name}").casefold() for row in mine}
        assert len(mine) == len(titles) == 50
        assert all(row.text.endswith(f" by {name}") and row.part == "targets" for row in mine)
        assert not [title for title in titles for other in names if other.split()[-1].casefold() in title]
    others = [row for row in every if row.part in ("neighbours", "kept")]
    assert len(others) == len(every) - 150 >= 100
    assert all(row.text.endswith(f" by {row.target}") and row.target not in names for row in others)
    assert len({row.seed for row in every}) == len({row.id for row in every}) == len(every)
    assert len({row.text.casefold() for row in every}) == len(every)
