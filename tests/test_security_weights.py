"""Files of weights and configs from outside run no code, lead to no other files, and cannot fill the memory."""

import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny import SCHEDULER, tiny_unet

from benchmark.errors import DataError
from benchmark.models.checkpoint_forms.lora_scaling import Scaling
from benchmark.models.embeddings import read_embeddings
from benchmark.models.external_checkpoint import Checkpoint, load, locate
from benchmark.models.part_files import load_text_encoder, load_vae, read_schedule
from metrics.networks.untrusted import check_config, check_part, check_pipeline
from metrics.networks.weights import read_weights

ROOT = Path(__file__).parents[1]
MEMORY = 4 << 30
"""Address space of a process that reads a bomb, in bytes. Importing torch alone takes more than half of it."""


class Mark:
    """An object whose pickle creates a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return os.mkdir, (str(self.file),)


def hostile(path: Path, mark: Path, form: str) -> None:
    """Write a file of weights with a pickle that leaves a mark."""
    content = {"conv_in.weight": torch.zeros(2, 2), "payload": Mark(mark)}
    if form == "zip":
        torch.save(content, path)
    elif form == "legacy":
        torch.save(content, path, _use_new_zipfile_serialization=False)
    else:
        path.write_bytes(pickle.dumps(content["payload"]))


@pytest.mark.parametrize("form", ["zip", "legacy", "bare pickle"])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt"])
def test_pickled_code_in_weights_is_not_run(form: str, suffix: str, tmp_path: Path) -> None:
    path, mark = tmp_path / f"esd{suffix}", tmp_path / "mark"
    hostile(path, mark, form)
    with pytest.raises(DataError, match="not unpickled for security: save the weights as safetensors"):
        load(locate(str(path)), tiny_unet(0), SCHEDULER)
    assert not mark.exists()
    with path.open("rb") as opened:  # the file is a real attack: plain unpickling leaves the mark
        torch.load(opened, weights_only=False) if form != "bare pickle" else pickle.load(opened)
    assert mark.exists()


def test_pickled_code_in_an_embedding_or_architecture_is_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    hostile(tmp_path / "word.pt", mark, "zip")
    with pytest.raises(DataError, match="not unpickled for security"):
        read_embeddings([tmp_path / "word.pt"])
    tiny_unet(0).save_pretrained(tmp_path / "unet")
    pruned = Checkpoint("diffusers", tmp_path / "unet", architecture=tmp_path / "word.pt")
    with pytest.raises(DataError, match=r"The architecture .* cannot be read"):
        load(pruned, tiny_unet(0), SCHEDULER)
    assert not mark.exists()


def expanded(path: Path) -> None:
    torch.save({"conv_in.weight": torch.zeros(1).expand(10**5, 10**7)}, path)


def sparse(path: Path) -> None:
    with torch.sparse.check_sparse_tensor_invariants(enable=True):
        entry = torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.long), torch.ones(1), (10**6, 10**6))
    torch.save({"conv_in.weight": entry}, path)


def empty(path: Path) -> None:
    torch.save({"conv_in.weight": torch.empty(10**6, 10**6, device="meta")}, path)


def compressed(path: Path, gigabytes: float = 0.01) -> None:
    """Write an archive whose entries are compressed about a thousandfold."""
    plain = path.with_suffix(".plain")
    torch.save({"conv_in.weight": torch.zeros(int(gigabytes * 2**28))}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    plain.unlink()


@pytest.mark.filterwarnings("ignore:Validating sparse")
@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (expanded, r"tensor of shape \(100000, 10000000\) with only 4 bytes of values: save it with .contiguous"),
        (sparse, "contain sparse tensors: save them as plain tensors"),
        (empty, r"contain empty \(meta\) tensors: save them as plain tensors"),
        (compressed, "compressed archive that would grow from .* bytes: save them again with torch.save"),
    ],
)
def test_tensors_that_are_larger_than_their_file_are_refused(write, sentence: str, tmp_path: Path) -> None:
    write(tmp_path / "bomb.pt")
    with pytest.raises(DataError, match=sentence):
        read_weights(tmp_path / "bomb.pt")
    with pytest.raises(DataError, match=sentence):
        read_embeddings([tmp_path / "bomb.pt"])


def test_tied_weights_and_views_are_accepted(tmp_path: Path) -> None:
    whole = torch.rand(4, 4)
    torch.save({"a.weight": whole, "b.weight": whole, "c.weight": whole[:2]}, tmp_path / "tied.pt")
    assert read_weights(tmp_path / "tied.pt").keys() == {"a.weight", "b.weight", "c.weight"}


def test_safetensors_with_absurd_headers_take_no_memory(tmp_path: Path) -> None:
    """The header states its own length and the sizes of the tensors; neither is believed."""
    length = tmp_path / "length.safetensors"
    length.write_bytes((2**40).to_bytes(8, "little") + b"{}")
    header = json.dumps({"a.weight": {"dtype": "F32", "shape": [2**30, 2**12], "data_offsets": [0, 2**44]}}).encode()
    shape = tmp_path / "shape.safetensors"
    shape.write_bytes(len(header).to_bytes(8, "little") + header)
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from benchmark.errors import DataError\n"
        "from metrics.networks.weights import read_weights\n"
        "import torch, safetensors.torch\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({MEMORY}, {MEMORY}))\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        read_weights(Path(name))\n"
        "    except DataError as error:\n"
        "        print(error)\n"
    )
    words = [sys.executable, "-c", code, str(length), str(shape)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.count("cannot be read") == 2, done.stderr


def folder_of_shards(folder: Path, shard: str) -> Path:
    """Write a text encoder's folder whose index names `shard`."""
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "clip_text_model"}')
    save_file({"a": torch.zeros(1)}, folder / "model-00001-of-00001.safetensors")
    index = {"metadata": {}, "weight_map": {"a": shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize("shard", ["../../x.safetensors", "/etc/passwd", "x.bin", "", "a/../b"])
def test_index_that_names_files_outside_its_folder_is_refused(shard: str, tmp_path: Path) -> None:
    folder = folder_of_shards(tmp_path / "text_encoder", shard)
    with pytest.raises(DataError, match="which is not in the same folder: download the weights again"):
        load_text_encoder(folder)
    check_part(folder_of_shards(tmp_path / "fine", "model-00001-of-00001.safetensors"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("auto_map", {"AutoModel": "evil.Evil"}),
        ("quantization_config", {"quant_method": "bitsandbytes"}),
        ("_attn_implementation", "someone/kernels"),
        ("attn_implementation", "someone/kernels"),
    ],
)
def test_config_that_names_code_is_refused(field: str, value: object, tmp_path: Path) -> None:
    for part, kind, read in (
        ("text_encoder", {"model_type": "clip_text_model"}, load_text_encoder),
        ("vae", {"_class_name": "AutoencoderKL"}, load_vae),
    ):
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text(json.dumps({**kind, field: value}))
        (tmp_path / part / "evil.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'mark')!r})\nclass Evil: pass\n")
        with pytest.raises(DataError, match=f"has the field {field}, which would load other code"):
            read(tmp_path / part)
    assert not (tmp_path / "mark").exists()
    check_config({field: None, "_attn_implementation": "sdpa"}, tmp_path)


@pytest.mark.parametrize("class_name", [["evil", "Evil"], 5])
def test_pipeline_index_that_names_code_is_refused(class_name: object, tmp_path: Path) -> None:
    place = tmp_path / "model_index.json"
    place.write_text(json.dumps({"_class_name": class_name}))
    with pytest.raises(DataError, match="names code for '_class_name' that is not part of diffusers"):
        check_pipeline(tmp_path)
    place.write_text(json.dumps({"_class_name": "StableDiffusionPipeline", "vae": ["evil", "Evil"]}))
    with pytest.raises(DataError, match="names code for 'vae' that is not part of diffusers"):
        check_pipeline(tmp_path)
    parts = {"vae": ["diffusers", "AutoencoderKL"], "safety_checker": [None, None], "requires_safety_checker": True}
    place.write_text(json.dumps({"_class_name": "StableDiffusionPipeline", **parts}))
    check_pipeline(tmp_path)


@pytest.mark.parametrize("settings", [{"num_hidden_layers": 10**9}, {"hidden_size": 10**12}, {"widths": [1, 10**9]}])
def test_config_of_an_absurdly_large_network_is_refused(settings: dict, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is the largest value that a network can have"):
        check_config(settings, tmp_path)


@pytest.mark.parametrize("steps", [10**12, 0, -1, "1000", True])
def test_noise_schedule_with_an_absurd_number_of_steps_is_refused(steps: object, tmp_path: Path) -> None:
    (tmp_path / "scheduler").mkdir()
    config = tmp_path / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps({"_class_name": "DDIMScheduler", "num_train_timesteps": steps}))
    with pytest.raises(DataError, match="must be a whole number from 1 to 100,000"):
        read_schedule(tmp_path)


def test_deeply_nested_config_is_refused(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text("[" * 10**5)
    with pytest.raises(DataError, match=r"config\.json cannot be read"):
        load(locate(str(tmp_path / "unet")), tiny_unet(0), SCHEDULER)


@pytest.mark.parametrize("pattern", ["(a+)+", "(a|a)*", ".*.*.*.*.*x", "a++b{2}{3}"])
def test_pattern_that_would_match_for_years_is_refused(pattern: str, tmp_path: Path) -> None:
    scaling = Scaling(tmp_path / "lora.safetensors", {}, {"lora_alpha": 1, "rank_pattern": {pattern: 2}})
    with pytest.raises(DataError, match="which repeats a group or too much: write the names of the layers"):
        scaling.of("a" * 60 + "!", 2)


def test_usual_patterns_of_peft_are_accepted(tmp_path: Path) -> None:
    patterns = {"mid_block.attentions.0": 4, r".*\.to_(q|k)": 8, r"down_blocks\.\d+\.attentions": 2}
    scaling = Scaling(tmp_path / "lora.safetensors", {}, {"lora_alpha": 1, "rank_pattern": patterns})
    assert scaling.of("up.0.to_q", 8) == 1 / 8
