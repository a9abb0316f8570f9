"""Encoders: inputs are checked, and features depend neither on the batch size nor on the mode of the network."""

import numpy as np
import open_clip
import pytest
import torch
from torch import nn

from metrics.encoders import ModuleEncoder, OpenClipEncoder

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def pictures(count=7, height=16, width=16):
    shape = (count, 3, height, width)
    return torch.from_numpy(np.random.RandomState(0).randint(256, size=shape, dtype=np.uint8))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def clip_model(side=16):
    torch.manual_seed(0)
    vision = {"layers": 1, "width": 64, "patch_size": 8, "image_size": side, "head_width": 32}
    text = {"context_length": 8, "vocab_size": 128, "width": 32, "heads": 2, "layers": 1}
    return open_clip.CLIP(12, vision, text)


def tokens(texts):
    """One id a letter; the highest id ends the text, as CLIP expects."""
    rows = [[ord(letter) % 127 for letter in text[:7]] + [127] for text in texts]
    return torch.tensor([row + [0] * (8 - len(row)) for row in rows], dtype=torch.int64)


def test_module_encoder_normalises_images():
    images = pictures()
    encoder = ModuleEncoder("pixels", nn.Flatten(), 3 * 16 * 16, MEAN, STD)
    by_hand = (images.numpy()[2, 1] / 255 - 0.4) / 0.3
    assert np.allclose(encoder(images)[2].reshape(3, 16, 16)[1].numpy(), by_hand, atol=1e-6)


def test_features_do_not_depend_on_batch_size_or_training_mode():
    images, module = pictures(), network().train()
    whole, single = ModuleEncoder("m", module, 4, MEAN, STD), ModuleEncoder("m", module, 4, MEAN, STD, batch=1)
    assert torch.allclose(whole(images), single(images), atol=1e-6)
    features = whole(images)
    assert features.shape == (7, 4)
    assert features.dtype == torch.float32
    assert not features.requires_grad


def test_half_precision_network_gives_float32_features():
    features = ModuleEncoder("m", network().to(torch.bfloat16), 4, MEAN, STD)(pictures())
    assert features.dtype == torch.float32
    assert torch.allclose(features, ModuleEncoder("m", network(), 4, MEAN, STD)(pictures()), atol=0.05)


def test_images_of_wrong_dtype_or_shape_are_refused():
    clip = OpenClipEncoder("c", clip_model(), tokens)
    for encoder in (ModuleEncoder("m", network(), 4, MEAN, STD), clip):
        for images in (pictures() / 255, pictures()[0], pictures().permute(0, 2, 3, 1), pictures()[:, :1]):
            with pytest.raises(ValueError, match="uint8"):
                encoder(images)


def test_empty_batch_gives_zero_rows_of_the_right_width():
    clip = OpenClipEncoder("c", clip_model(), tokens)
    assert ModuleEncoder("m", network(), 4, MEAN, STD)(pictures(0)).shape == (0, 4)
    assert clip(pictures(0)).shape == clip.text([]).shape == (0, clip.size)


def test_network_with_wrong_feature_width_is_refused():
    with pytest.raises(ValueError, match=r"returned features of shape \(7, 4\) instead of \(7, 5\)"):
        ModuleEncoder("m", network(), 5, MEAN, STD)(pictures())


def test_open_clip_encoder_matches_open_clip_preprocessing():
    from PIL import Image

    model = clip_model()
    model.visual.image_mean, model.visual.image_std = MEAN, STD
    prepare = open_clip.image_transform(16, is_train=False, mean=MEAN, std=STD)
    for images in (pictures(), pictures(3, 40, 56)):
        pil = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
        with torch.no_grad():
            wanted = model.encode_image(torch.stack([prepare(image) for image in pil]))
        assert torch.allclose(OpenClipEncoder("c", model, tokens, batch=2)(images), wanted, atol=1e-5)


def test_texts_are_batched_in_order():
    model, texts = clip_model(), ["a cat", "a dog", "two boats", "", "a cat"]
    encoder = OpenClipEncoder("c", model, tokens, batch=2)
    with torch.no_grad():
        wanted = model.encode_text(tokens(texts))
    assert encoder.size == 12
    assert torch.allclose(encoder.text(texts), wanted, atol=1e-5)
    with pytest.raises(ValueError, match="list"):
        encoder.text("a cat")
