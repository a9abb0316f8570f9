"""Public lists on a testbed: each row has its own seed, and records name the list, its settings and counts."""

from pathlib import Path

import pytest
import torch
from public_lists import SECRET, table, titled, written
from typer.testing import CliRunner

from benchmark.api.request import RunRequest
from benchmark.api.testbed import Workbench
from benchmark.cli.app import app
from benchmark.console import Progress
from benchmark.cost.testbed_facts import read_facts
from benchmark.errors import DataError
from benchmark.generation import features
from benchmark.generation.images import each_picture
from benchmark.generation.shards import shard_identity
from benchmark.models import fitted
from benchmark.records.record import read_records, read_scores
from benchmark.store.artefacts import Store
from benchmark.suites import prompt_lists, prompts
from benchmark.suites.explicit import I2P, MMA, RingABell
from benchmark.suites.prompts import Published
from benchmark.testbeds import resolve
from benchmark.testbeds.stable_diffusion.testbed import StableDiffusion
from methods import sampling
from methods.sampling import Sampler, initial_noise, sample
from prompts.concepts import Concept
from prompts.lists import Prompt

SIZES = {"sd_image_width": ["64", "128", "64", "64"], "sd_image_height": ["64", "64", "96", "64"]}
SETTINGS: dict[str, list[str]] = {**SIZES, "sd_guidance_scale": ["7.5", "7.5", "3", "0"]}


@pytest.fixture(scope="module")
def testbed(tiny: Path) -> StableDiffusion:
    return resolve.load(str(tiny))(device="cpu")


def bench(testbed: StableDiffusion, home: Path, as_published: bool = False) -> Workbench:
    return Workbench(testbed, Store(home), Progress(), torch.device("cpu"), as_published)


def add(home: Path, name: str, **changed: list[str]) -> str:
    """Adds a harmless list of four rows; its checksum."""
    home.mkdir(exist_ok=True)
    text = "".join(f"{titled(k)}\n" for k in range(4)) if name == "ring-a-bell-paper" else table(name, **changed)
    return prompt_lists.add(home, name, written(home, text)).sha256


def concept(testbed: StableDiffusion):
    return testbed.concept((), "explicit")


def test_each_row_has_its_own_seed(testbed, tmp_path):
    add(tmp_path, "i2p", **SETTINGS)
    found = prompts.suite_prompts(bench(testbed, tmp_path), "i2p", concept(testbed))
    assert [(one.id, one.seed, one.target) for one in found] == [(f"i2p-{k:04d}", 1000 + k, "nudity") for k in range(4)]
    assert not [one for one in found if isinstance(one, Published)]


@pytest.mark.parametrize(("suite", "name"), [(I2P, "i2p-esd"), (MMA, "mma"), (RingABell, "ring-a-bell-paper")])
def test_suite_reads_the_added_list(suite, name, testbed, tmp_path):
    made = bench(testbed, tmp_path)
    with pytest.raises(DataError, match=r"is not shipped: get .*then run `bench prompts add"):
        prompts.suite_prompts(made, suite.name, concept(testbed))
    sha256 = add(tmp_path, name)
    texts = [one.text for one in prompts.suite_prompts(made, suite.name, concept(testbed))]
    assert texts == [titled(k) for k in range(4)]
    assert prompts.list_facts(made, suite.name, concept(testbed)) == {
        "list": {"name": name, "sha256": sha256, "variant": "unique", "rows": 4}
    }


def test_repeated_rows_are_dropped_unless_as_published(testbed, tmp_path):
    add(tmp_path, "i2p", prompt=[SECRET, "x", SECRET, ""], **SETTINGS)
    unique, published = bench(testbed, tmp_path), bench(testbed, tmp_path, as_published=True)
    assert [one.id for one in prompts.suite_prompts(unique, "i2p", concept(testbed))] == ["i2p-0000", "i2p-0001"]
    assert len(prompts.suite_prompts(published, "i2p", concept(testbed))) == 4
    rows = [prompts.list_facts(made, "i2p", concept(testbed))["list"]["rows"] for made in (unique, published)]
    assert rows == [2, 4]


def test_own_guidance_and_size_of_a_list_are_used_only_as_published(testbed, tmp_path, monkeypatch):
    add(tmp_path, "i2p", **SETTINGS)
    seen: list[tuple[float, tuple[int, ...]]] = []

    def watch(unet, scheduler, text, null, noise, sampler, stop=None):
        seen.extend([(sampler.guidance, tuple(one.shape)) for one in noise])
        return sample(unet, scheduler, text, null, noise, sampler, stop)

    monkeypatch.setattr(sampling, "sample", watch)
    base = fitted.Base(bench(testbed, tmp_path))
    for as_published in (False, True):
        made = bench(testbed, tmp_path, as_published)
        each_picture(made, base, prompts.suite_prompts(made, "i2p", concept(testbed)), I2P())
    assert seen[:4] == [(7.5, (4, 8, 8))] * 4
    # Rows that are sampled alike are sampled together, so the order is that of the settings.
    assert seen[4:] == [(7.5, (4, 8, 8)), (7.5, (4, 8, 16)), (3.0, (4, 12, 8)), (0.0, (4, 8, 8))]


def test_pictures_of_several_sizes_stay_in_order(testbed, tmp_path):
    """Row by row against sampling alone."""
    settings = {**SETTINGS, "sd_image_width": ["64", "128", "64", "128"], "sd_image_height": ["64"] * 4}
    add(tmp_path, "i2p", **{**settings, "sd_guidance_scale": ["7.5", "3", "7.5", "3"]})
    made = bench(testbed, tmp_path, as_published=True)
    asked = prompts.suite_prompts(made, "i2p", concept(testbed))
    found = each_picture(made, fitted.Base(made), asked, I2P())
    null = testbed.encode([""])[0]
    for prompt, picture, (guidance, width) in zip(asked, found, [(7.5, 64), (3.0, 128)] * 2, strict=True):
        noise = initial_noise([prompt.seed], (4, 8, width // 8))
        how = testbed.sampler.model_copy(update={"guidance": guidance})
        alone = sample(testbed.base(), testbed.scheduler, testbed.encode([prompt.text]), null, noise, how)
        assert picture.shape == (3, 64, width)
        assert (testbed.decode(alone)[0].int() - picture.int()).abs().max() <= 1


def test_size_that_no_latent_has_is_refused(testbed, tmp_path):
    add(tmp_path, "i2p", **{**SETTINGS, "sd_image_width": ["64", "100", "64", "64"]})
    with pytest.raises(DataError, match="i2p-0001 has a size of 100 x 64 pixels"):
        prompts.suite_prompts(bench(testbed, tmp_path, as_published=True), "i2p", concept(testbed))
    assert len(prompts.suite_prompts(bench(testbed, tmp_path), "i2p", concept(testbed))) == 4


def test_pictures_with_their_own_settings_have_another_identity(testbed, tmp_path):
    made = bench(testbed, tmp_path)
    plain = Prompt("a", "x", 1, "implicit")
    ids = [
        shard_identity(made, fitted.Base(made), [prompt])
        for prompt in (plain, Published("a", "x", 1, "implicit", guidance=7.5), Published("a", "x", 1, "implicit"))
    ]
    assert "guidance, width, height" not in ids[0]
    assert len({str(identity) for identity in ids}) == 3


def test_features_of_pictures_of_several_sizes_stay_in_order():
    sizes = [8, 4, 8, 8, 4, 6]
    pictures = [torch.full((3, side, side), k, dtype=torch.uint8) for k, side in enumerate(sizes)]
    asked: list[int] = []

    def encoder(images: torch.Tensor) -> torch.Tensor:
        asked.append(len(images))
        return images[:, 0, 0, :1].float()

    assert features._by_size(encoder, pictures).flatten().tolist() == list(range(6))  # type: ignore[arg-type]
    assert asked == [3, 2, 1]


def test_own_settings_of_a_prompt_replace_only_what_they_state():
    sampler = Sampler(latent_size=64, guidance=7.5)
    how, shape = Published("a", "x", 1, "p").sampled(sampler, 8)
    assert (how, shape) == (sampler, (4, 64, 64))
    how, shape = Published("a", "x", 1, "p", guidance=3.0, height=768).sampled(sampler, 8)
    assert (how.guidance, how.steps, shape) == (3.0, sampler.steps, (4, 96, 64))


# end to end


def called(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output + str(result.exception)
    return result.output


def test_record_names_its_list_and_variant(tiny, tmp_path):
    run = ["run", "--method", "distilled", "--suite", "i2p", "--alone", "--testbed", str(tiny), "--budget", "1it",
           "--device", "cpu", "--runs", str(tmp_path)]  # fmt: skip
    told = called(*run, code=2)
    assert "is not shipped" in told
    assert "train" not in told
    sha256 = add(tmp_path, "i2p", **SETTINGS)
    assert SECRET not in called(*run) + called(*run, "--as-published")
    found = read_records([tmp_path / "records"])
    assert len(found) == 4
    for record in found:
        own = record.label.endswith(", as published")
        variant = "as-published" if own else "unique"
        assert record.world["list"] == {"name": "i2p", "sha256": sha256, "variant": variant, "rows": 4}
        assert record.sampler.get("as_published", False) is own
        assert record.concept == {"kind": "explicit", "targets": ["nudity"], "anchor": "person", "neighbours": []}
        assert record.cells["explicit"].of == record.cells["explicit"].n == 4
        assert record.cells["explicit"].back_end.startswith("nudenet-")
        assert SECRET not in record.model_dump_json()
    shown = {record.images: sorted((tmp_path / str(record.images)).iterdir()) for record in found}
    assert len(shown) == 4  # base and distilled, each asked in two ways
    assert {len(links) for links in shown.values()} == {4}
    assert len({link.resolve() for links in shown.values() for link in links}) == 16
    (shard, *_) = (tmp_path / "artefacts" / "explicit-images").iterdir()
    assert (shard.stat().st_mode | shard.parent.stat().st_mode) & 0o077 == 0
    assert not list((tmp_path / "artefacts").glob("*latents"))  # distillation uses no concept images
    assert "--as-published is for public lists" in called(
        *(word.replace("i2p", "artists") for word in run), "--as-published", code=2
    )


# painters' titles


def painters(rows: dict[str, list[tuple[str, int]]]) -> str:
    """A file in the ESD authors' form, row by row in turn."""
    told = [(text, seed, name) for name, some in rows.items() for text, seed in some]
    lines = [f'{k},{k},"{text}",{seed},{name}' for k, (text, seed, name) in enumerate(told)]
    return "\n".join([",case_number,prompt,evaluation_seed,artist", *lines]) + "\n"


OAK = [("Ships, in the manner of van Oak", 77), ("A mill of van Oak's", 2**40), ("A hill of van Oak's", 5)]
FILE = painters({"Van Oak": OAK, "Bo Birch": [("A boat by Birch", 9)]})


def test_added_titles_are_used_with_their_seeds(testbed, tmp_path, capfd):
    style = testbed.concept(())
    own = prompts.suite_prompts(bench(testbed, tmp_path), "artists", style)
    assert own == testbed.prompts("artists", style)
    assert prompts.list_facts(bench(testbed, tmp_path), "artists", style) == {}
    sha256 = prompt_lists.add(tmp_path, "artists", written(tmp_path, FILE)).sha256
    made = bench(testbed, tmp_path)
    found = prompts.suite_prompts(made, "artists", style)
    targets = [one for one in found if one.part == "targets"]
    assert [(one.text, one.seed) for one in targets] == OAK
    assert {one.target for one in targets} == {"Ann van Oak"}
    # Bo Birch is kept: no row of his is asked.
    assert [one for one in found if one.part != "targets"] == [one for one in own if one.part != "targets"]
    assert [one.target for one in found[:3]] == [one.target for one in own[:3]]  # a cross-section
    variant = {"name": "artists", "sha256": sha256, "variant": "unique", "rows": 3}
    assert prompts.list_facts(made, "artists", style) == {"lists": {"Ann van Oak": variant}}
    assert prompts.suite_prompts(made, "coco", style) == testbed.prompts("coco", style)
    assert "no row by" not in capfd.readouterr().err


@pytest.mark.parametrize(("suite", "name"), [("artists", "artists"), ("i2p", "i2p"), ("mma", None)])
def test_estimate_counts_the_prompts_of_the_run(suite, name, testbed, tiny, tmp_path):
    request = RunRequest("distilled", suite, testbed=str(tiny), alone=True, runs=tmp_path)
    if name is None:
        told = read_facts(request)
        assert told.prompt_counts == {"mma": 1000}
        assert any("uses all 1,000 rows of the list mma, which was not added yet" in line for line in told.assumed)
        return
    if suite == "artists":
        before = read_facts(request).prompt_counts[suite]
        prompt_lists.add(tmp_path, name, written(tmp_path, FILE))
    else:
        before = 4703
        add(tmp_path, name, **SETTINGS)
    kind = "style" if suite == "artists" else "explicit"
    counted = read_facts(request).prompt_counts
    assert counted == {suite: len(prompts.suite_prompts(bench(testbed, tmp_path), suite, testbed.concept((), kind)))}
    assert counted[suite] != before


def test_target_without_added_titles_uses_those_of_the_testbed_with_a_notice(testbed, tmp_path, capfd):
    prompt_lists.add(tmp_path, "artists", written(tmp_path, FILE))
    style, made = testbed.concept(("Cy Cedar", "Ann van Oak")), bench(testbed, tmp_path)
    found = prompts.suite_prompts(made, "artists", style)
    assert [one.text for one in found if one.target == "Cy Cedar"] == ["The Empty Room by Cy Cedar"]
    assert [one.text for one in found if one.target == "Ann van Oak"] == [text for text, _ in OAK]
    (said,) = [line for line in capfd.readouterr().err.splitlines() if "no row by" in line]
    assert said.endswith("no row by Cy Cedar in artists: using the testbed's own prompts")
    assert list(prompts.list_facts(made, "artists", style)["lists"]) == ["Ann van Oak"]


def test_list_of_one_painter_comes_before_a_list_of_many(testbed, tmp_path, monkeypatch):
    monkeypatch.setattr(testbed, "titles", {"artists": ("artists-monet", "artists")})
    monet = prompt_lists.add(tmp_path, "artists-monet", written(tmp_path, table("artists-monet")))
    prompt_lists.add(tmp_path, "artists", written(tmp_path, painters({"Monet": OAK[1:], "Van Oak": OAK[:1]})))
    style, made = Concept("style", ("Claude Monet", "Ann van Oak"), "art"), bench(testbed, tmp_path)
    told = prompts.list_facts(made, "artists", style)["lists"]
    assert [(name, one["name"], one["rows"]) for name, one in told.items()] == [
        ("Claude Monet", "artists-monet", 4), ("Ann van Oak", "artists", 1),
    ]  # fmt: skip
    assert told["Claude Monet"]["sha256"] == monet.sha256
    published = bench(testbed, tmp_path, as_published=True)
    found = [one for one in prompts.suite_prompts(published, "artists", style) if one.target == "Claude Monet"]
    assert [(one.seed, one.own) for one in found if isinstance(one, Published)] == [
        (1000 + k, (7.0, None, None)) for k in range(4)
    ]


def test_shard_identity_depends_on_which_row_has_its_own_settings(testbed, tmp_path):
    made = bench(testbed, tmp_path)
    plain, own = Prompt("a", "x", 1, "targets"), Published("a", "x", 1, "targets", guidance=3.0)
    first, second = (shard_identity(made, fitted.Base(made), shard) for shard in ([plain, own], [own, plain]))
    assert first["prompts"] == second["prompts"]
    assert first != second


def test_run_uses_added_titles_and_its_record_names_their_list(tiny, tmp_path):
    run = ["run", "--method", "distilled", "--suite", "artists", "--alone", "--testbed", str(tiny), "--budget", "1it",
           "--device", "cpu", "--runs", str(tmp_path)]  # fmt: skip
    sha256 = prompt_lists.add(tmp_path, "artists", written(tmp_path, FILE)).sha256
    called(*run)
    records = read_records([tmp_path / "records"])
    assert sorted(record.method for record in records) == ["base", "distilled"]
    for record in records:
        assert record.world["lists"]["Ann van Oak"]["sha256"] == sha256
        scores = read_scores(record).to_pylist()
        assert sorted(row["seed"] for row in scores if row["part"] == "targets") == sorted(seed for _, seed in OAK)
        assert record.cells["clip"].n == record.cells["clip"].of == 3
