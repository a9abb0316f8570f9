"""Only the files that are loaded are downloaded from the Hub."""

import shutil
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from benchmark import hub
from benchmark.errors import DataError
from benchmark.models.external_checkpoint import locate
from benchmark.testbeds.stable_diffusion import find
from benchmark.testbeds.stable_diffusion.pipeline import Pipeline

NAME, WEIGHTS, MODEL = "config.json", "diffusion_pytorch_model", "model"
TOKENIZER = ["tokenizer/merges.txt", "tokenizer/tokenizer_config.json", "tokenizer/vocab.json"]
READ = [
    "model_index.json", "scheduler/scheduler_config.json", f"text_encoder/{NAME}", f"text_encoder/{MODEL}.safetensors",
    *TOKENIZER, f"unet/{NAME}", f"unet/{WEIGHTS}.safetensors", f"vae/{NAME}", f"vae/{WEIGHTS}.safetensors",
]  # fmt: skip
BESIDE = [
    "README.md", "v2-1_768-ema-pruned.safetensors", "v2-1_768-ema-pruned.ckpt", "v2-1-[odd].bin",
    f"safety_checker/{NAME}", f"safety_checker/{MODEL}.safetensors", "feature_extractor/preprocessor_config.json",
    f"text_encoder/pytorch_{MODEL}.bin", f"text_encoder/{MODEL}.fp16.safetensors", f"unet/{WEIGHTS}.bin",
    f"unet/{WEIGHTS}.fp16.safetensors", f"unet/{WEIGHTS}.non_ema.safetensors", f"unet/old/{WEIGHTS}.safetensors",
    f"unet_ema/{WEIGHTS}.safetensors", f"vae/{WEIGHTS}.bin", f"vae/{WEIGHTS}.fp16.safetensors",
]  # fmt: skip


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Gives the Hub one repository, of these files; what was downloaded of it, in order of their names."""

    def publish(files: list[str]) -> list[str]:
        downloaded: list[str] = []

        def download(name: str, allow_patterns: list[str], **how: object) -> str:
            downloaded[:] = sorted(file for file in files if any(fnmatch(file, wanted) for wanted in allow_patterns))
            for file in downloaded:
                (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / file).write_text("{}")
            return str(tmp_path)

        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.list_repo_files", lambda name: files)
        monkeypatch.setattr("huggingface_hub.snapshot_download", download)
        return downloaded

    return publish


def test_hub_checkpoint_downloads_only_the_files_that_are_read(repository) -> None:
    downloaded = repository(sorted([*READ, *BESIDE]))
    assert locate("somebody/pipeline").pipeline is not None
    assert downloaded == sorted(READ)
    locate("somebody/pipeline", "unet")
    assert downloaded == sorted(f for f in READ if f.startswith(("unet/", "scheduler/")) or f == "model_index.json")


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ([NAME, f"{WEIGHTS}.bin", f"{WEIGHTS}.safetensors"], [NAME, f"{WEIGHTS}.safetensors"]),
        ([NAME, f"{WEIGHTS}.fp16.safetensors", f"{WEIGHTS}.bin"], [NAME, f"{WEIGHTS}.fp16.safetensors"]),
        ([NAME, *(s := [f"{WEIGHTS}-0000{k}-of-00002.safetensors" for k in (1, 2)]),
          i := f"{WEIGHTS}.safetensors.index.json", f"{WEIGHTS}.bin.index.json"], [NAME, *s, i]),
        ([NAME, "architecture.json", "unet.safetensors"], [NAME, "architecture.json", "unet.safetensors"]),
        (["esd.safetensors", "esd.pt", "README.md", "log/esd.pt"], ["esd.safetensors"]),
        (["esd.pt"], ["esd.pt"]),
    ],
)  # fmt: skip
def test_unet_of_the_hub_is_downloaded_in_one_form(files: list[str], wanted: list[str], repository) -> None:
    downloaded = repository(files)
    locate("somebody/unet")
    assert downloaded == sorted(wanted)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["a.safetensors", "b.safetensors"], r"2 files of weights \(a.safetensors, b.safetensors...\): download one"),
        (["README.md"], "neither a U-Net, a pipeline nor weights"),
        (
            [NAME, f"{WEIGHTS}.fp16.safetensors", f"{WEIGHTS}.bf16.safetensors"],
            "only as variants bf16 and fp16: keep one of them",
        ),
    ],
)
def test_repository_that_is_no_checkpoint_is_refused_before_any_download(
    files: list[str], message: str, repository
) -> None:
    downloaded = repository(files)
    with pytest.raises(DataError, match=message):
        locate("somebody/thing")
    assert not downloaded


def test_sharded_testbed_model_is_downloaded_with_its_index_and_nothing_else(repository) -> None:
    shards = [f"unet/{WEIGHTS}-0000{k}-of-00002.safetensors" for k in (1, 2)]
    index = f"unet/{WEIGHTS}.safetensors.index.json"
    sharded = [file for file in READ if file != f"unet/{WEIGHTS}.safetensors"] + [*shards, index]
    downloaded = repository(sorted([*sharded, *BESIDE]))
    find.model(["somebody/pipeline"])
    assert downloaded == sorted([*sharded, "feature_extractor/preprocessor_config.json"])


@pytest.mark.parametrize(
    ("job", "files", "wanted"),
    [
        ("style", ["pytorch_model.bin", "model.safetensors", "x/model.safetensors"], ["model.safetensors"]),
        ("style", ["pytorch_model.bin", "README.md"], ["pytorch_model.bin"]),
        ("clip", ["open_clip_config.json", "open_clip_model.safetensors", "open_clip_pytorch_model.bin", "config.json"],
         ["open_clip_config.json", "open_clip_model.safetensors"]),
    ],
)  # fmt: skip
def test_scoring_network_is_downloaded_in_one_form(job: str, files: list[str], wanted: list[str], repository):
    downloaded = repository(files)
    find.network("somebody/network", job)
    assert downloaded == wanted


@pytest.mark.parametrize("why", ["offline", "unreachable", "not asked"])
def test_earlier_download_is_found_without_the_hub(why: str, monkeypatch, tmp_path: Path) -> None:
    def listed(name: str) -> list[str]:
        assert why == "unreachable"
        raise OSError("no route")

    def download(name: str, local_files_only: bool) -> str:
        assert local_files_only
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", why == "offline")
    monkeypatch.setattr("huggingface_hub.list_repo_files", listed)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert hub.download("somebody/thing", list, ask=why != "not asked") == tmp_path


def test_testbed_loads_a_model_in_shards(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny.parent / "model", tmp_path / "model")
    whole = UNet2DConditionModel.from_pretrained(tmp_path / "model" / "unet")
    shutil.rmtree(tmp_path / "model" / "unet")
    whole.save_pretrained(tmp_path / "model" / "unet", max_shard_size="100KB")
    assert find.model([str(tmp_path / "model")])
    unet = Pipeline(tmp_path / "model", torch.device("cpu")).unet()
    assert all(torch.equal(tensor, unet.state_dict()[name]) for name, tensor in whole.state_dict().items())


def test_revision_after_the_id_is_passed_to_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[tuple[str, object]] = []

    def listed(name: str, revision: str | None = None) -> list[str]:
        seen.append((name, revision))
        return ["esd.safetensors"]

    def download(name: str, revision: str | None = None, **how: object) -> str:
        seen.append((name, revision))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.list_repo_files", listed)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    hub.download("org/model@refs/pr/3", list)
    hub.download("org/model", list)
    assert seen == [("org/model", "refs/pr/3")] * 2 + [("org/model", None)] * 2
    hub.download("org/model@v1", list, ask=False)
    assert seen[-1] == ("org/model", "v1")
    with pytest.raises(DataError, match=r"org/model@ is not an existing path"):
        locate("org/model@")


def test_origin_is_the_repository_and_commit_of_a_path_in_the_hubs_cache(tmp_path: Path) -> None:
    commit = "0123456789abcdef" * 2 + "01234567"
    folder = tmp_path / "models--org--model" / "snapshots" / commit
    assert hub.origin(folder / "unet") == hub.origin(folder) == f"org/model@{commit}"
    assert hub.origin(tmp_path / "models--org--model" / "snapshots" / "main") == ""
    assert hub.origin(tmp_path / "unet") == ""
