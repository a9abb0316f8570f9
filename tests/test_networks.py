"""Published networks: their weights fit key by key, and they compute what was published."""

import pytest
import torch
from miniature import csd_weights
from PIL import Image
from reference.networks import bilinear, clip_tower, pooled
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmark.errors import DataError
from metrics.networks.csd import csd, style_tower
from metrics.networks.inception import FidInception, inception
from metrics.networks.weights import read_weights

torch.set_num_threads(1)
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def test_an_average_counts_its_padding_or_the_last_block_averages():
    network, x = FidInception().eval(), torch.rand(1, 192, 5, 6)
    assert torch.allclose(network.Mixed_5b.pool(x)[0], pooled(x[0], "mean"), atol=1e-6)
    assert torch.equal(network.Mixed_7c.pool(x)[0], pooled(x[0], "max"))
    kinds = [getattr(network, name) for name in ("Mixed_5b", "Mixed_6e", "Mixed_7b", "Mixed_7c")]
    sizes = (192, 768, 1280, 2048)
    for block, channels in zip(kinds, sizes, strict=True):
        x = torch.rand(1, channels, 4, 4)
        how = "max" if block is kinds[-1] else "mean"
        own = block.branch_pool(pooled(x[0], how)[None])
        with torch.no_grad():
            assert torch.allclose(block(x)[:, -own.shape[1] :], own, atol=1e-5)


def test_pictures_reach_inception_resized_in_another_way_than_the_papers(tmp_path):
    torch.manual_seed(0)
    network = FidInception().eval()
    seen: list[Tensor] = []
    network.Conv2d_1a_3x3.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    save_file(network.state_dict(), tmp_path / "inception.safetensors")
    images = torch.randint(256, (2, 3, 64, 48), dtype=torch.uint8)
    with torch.no_grad():
        wanted = network(images / 127.5 - 1)
    assert torch.allclose(seen[0][0], bilinear(images[0] / 127.5 - 1, 299), atol=1e-4)
    found = inception(tmp_path / "inception.safetensors", "inception")(images)
    assert found.shape == (2, 2048)
    assert torch.allclose(found, wanted, atol=1e-4)


def test_inception_of_before_2018_has_no_counters(tmp_path):
    """pytorch-fid's file: names of torchvision, 1,008 classes, no auxiliary head."""
    old = {n: t for n, t in FidInception().state_dict().items() if not n.endswith("num_batches_tracked")}
    assert (old["fc.weight"].shape, old["Conv2d_1a_3x3.conv.weight"].shape) == ((1008, 2048), (32, 3, 3, 3))
    assert not [name for name in old if "AuxLogits" in name]
    torch.save(old, tmp_path / "pt_inception.pth")
    assert inception(tmp_path / "pt_inception.pth", "inception").size == 2048
    del old["Mixed_7c.branch_pool.conv.weight"]
    torch.save(old, tmp_path / "half.pth")
    with pytest.raises(DataError, match=r"half\.pth are not those of FID's Inception.*lack 'Mixed_7c\.branch_pool"):
        inception(tmp_path / "half.pth", "inception")


@pytest.mark.parametrize("form", ["safetensors", "bin", "pth"])
def test_style_is_read_from_the_content_projection_or_with_another_activation(form, tmp_path):
    weights, path = csd_weights(), tmp_path / f"csd.{form}"
    if form == "safetensors":
        save_file(weights, path)
    else:  # as its authors train: wrapped, in data parallel
        whole = {f"module.{name}": tensor for name, tensor in weights.items()}
        torch.save({"model_state_dict": whole, "epoch": 3} if form == "pth" else weights, path)
    encoder = csd(path, "csd")
    picture = torch.randint(256, (1, 3, 32, 32), dtype=torch.uint8)
    pixels = (picture[0] / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    tower = {name.removeprefix("backbone."): value for name, value in weights.items()}
    assert encoder.size == 24
    assert torch.allclose(encoder(picture)[0], clip_tower(tower, weights["last_layer_style"], pixels, 1), atol=1e-4)


def test_a_picture_is_resized_for_csd_as_tensors_are(tmp_path):
    """Published: shorter side by PIL's bicubic, then the middle."""
    save_file(csd_weights(), tmp_path / "csd.safetensors")
    encoder, network = csd(tmp_path / "csd.safetensors", "csd"), style_tower(csd_weights(), tmp_path)
    picture = torch.randint(256, (3, 64, 100), dtype=torch.uint8)
    small = (
        Image.fromarray(picture.permute(1, 2, 0).numpy())
        .resize((50, 32), Image.Resampling.BICUBIC)
        .crop((9, 0, 41, 32))
    )
    pixels = torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).view(32, 32, 3).permute(2, 0, 1) / 255
    pixels = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    assert torch.allclose(encoder(picture[None])[0], network(pixels[None])[0], atol=1e-3)


def test_another_networks_weights_are_taken_for_csd(tmp_path):
    whole = csd_weights()
    for change, message in (
        ({"last_layer_style": None}, "lack 'last_layer_style'"),
        ({"head.weight": torch.ones(2)}, "have an unexpected 'head.weight'"),
        ({"backbone.ln_post.bias": None}, "lack 'ln_post.bias'"),
        ({"backbone.ln_post.bias": torch.ones(3)}, "a different shape of 'ln_post.bias'"),
    ):
        changed = {name: value for name, value in {**whole, **change}.items() if value is not None}
        save_file(changed, tmp_path / "csd.safetensors")
        with pytest.raises(DataError, match=message):
            csd(tmp_path / "csd.safetensors", "csd")


class Trap:
    def __reduce__(self):
        return print, ("run",)


def test_a_checkpoint_runs_code_or_is_no_checkpoint(tmp_path, capsys):
    torch.save({"weights": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(DataError, match=r"trap\.pth contain other objects than tensors.*safetensors"):
        read_weights(tmp_path / "trap.pth")
    assert capsys.readouterr().out == ""
    torch.save([torch.ones(2)], tmp_path / "list.pth")
    (tmp_path / "page.safetensors").write_text("<!DOCTYPE html>")
    for name, message in (
        ("list.pth", "contains no tensors by name"),
        ("page.safetensors", "is a web page, not weights"),
        ("x.pth", "x.pth"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            read_weights(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_weights_nested_by_module_are_not_found(tmp_path):
    layer = nn.Linear(2, 2)
    torch.save({"mid.attn": layer.state_dict()}, tmp_path / "esd.pt")
    assert set(read_weights(tmp_path / "esd.pt")) == {"mid.attn.weight", "mid.attn.bias"}
