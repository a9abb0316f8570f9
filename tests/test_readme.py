"""Commands, examples and links in README and docs work as printed."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from benchmark.testbeds.mini.testbed import Mini
from benchmark.testbeds.mini.world.scenes import COLOURS, CONTENTS, SETTINGS

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}


def test_readme_is_short_and_links_to_pages_that_exist() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 190
    for name, text in PAGES.items():
        folder = ROOT if name == "README.md" else ROOT / "docs"
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (folder / link).exists(), f"{name} links to {link}"
    linked = set(re.findall(r"docs/([a-z-]+\.md)", PAGES["README.md"]))
    assert linked == PAGES.keys() - {"README.md"}


def commands() -> list[tuple[str, str]]:
    """(page, command) for each `bench ...` in code, inline or in blocks; line ends inside inline code are blanks."""
    shown = []
    for name, text in PAGES.items():
        blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        inline = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()] + inline
        for line in lines:
            if match := re.search(r"(?:^|uv run |-m )bench(?:mark)? ([a-z]+\b[^&'|]*)", line.replace("\n", " ")):
                shown.append((name, match[1].strip()))
    return shown


def test_every_command_and_option_in_readme_and_docs_exists() -> None:
    from typer.main import get_group

    from benchmark.cli.app import app

    known_commands = get_group(app).commands
    assert len(commands()) > 40
    for page, command in commands():
        words = shlex.split(command)
        assert words[0] in known_commands, f"{page}: bench {command}"
        group = known_commands[words[0]]
        options = {option for parameter in group.params for option in parameter.opts}
        options |= {
            option
            for sub in getattr(group, "commands", {}).values()
            for parameter in sub.params
            for option in parameter.opts
        }
        used = {word for word in words if word.startswith("--")}
        assert used <= options, f"{page}: bench {command}"


def test_toml_in_the_docs_is_a_testbed_file(tmp_path: Path) -> None:
    from benchmark.testbeds.stable_diffusion.definition import read

    (text,) = re.findall(r"```toml\n(.*?)```", PAGES["paper-scale.md"], re.DOTALL)
    assert tomllib.loads(text)["like"] == "sd21"
    file = tmp_path / "sd15.toml"
    file.write_text(text)
    assert read(file).name == "sd15"


@pytest.mark.usefixtures("standin")
def test_python_in_the_docs_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from benchmark.testbeds.mini import testbed

    examples = re.findall(r"```python\n(.*?)```", PAGES["python.md"], re.DOTALL)
    assert len(examples) == 4
    assert all(len(example.splitlines()) <= 10 for example in examples)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").symlink_to(ROOT / "results")
    unet: UNet2DConditionModel = testbed.Mini(device="cpu").base()
    unet.conv_out.bias.data += 0.1
    unet.save_pretrained(tmp_path / "my" / "unet")
    printed = []
    for example in examples:
        exec(compile(example, "python.md", "exec"), {})
        printed.append(capsys.readouterr().out)
    assert [line.split()[0] for line in printed[0].splitlines()] == [
        "base",
        "distilled",
        "uce",
        "base",
        "distilled",
        "uce",
    ]
    assert printed[2].count("'label'") == 5
    assert -100 <= float(printed[3].split("(")[1].split(",")[0].rstrip(")\n")) <= 100


def test_the_docs_list_the_objects_and_colours_that_mini_can_draw() -> None:
    text = " ".join(PAGES["own-models.md"].split())
    assert f"**What `mini` can draw**: {', '.join(CONTENTS)}; in {', '.join(COLOURS[:-1])} or {COLOURS[-1]};" in text
    assert f"{', '.join(SETTINGS[:-1])} or {SETTINGS[-1]};" in text


def test_the_docs_and_the_sampler_of_mini_agree() -> None:
    sampler = Mini().sampler
    assert sampler.scheduler == "pndm"
    assert f"with {sampler.steps} steps and guidance {sampler.guidance:g}" in PAGES["own-models.md"]
    side = sampler.latent_size
    assert f"{sampler.latent_channels} channels and {side} x {side} elements" in PAGES["own-models.md"]
