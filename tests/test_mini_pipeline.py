"""mini is an ordinary Stable Diffusion folder, and the benchmark samples the pictures that diffusers samples."""

from pathlib import Path

import open_clip
import pytest
import torch
from diffusers import StableDiffusionPipeline
from standin import Standin
from transformers import CLIPTokenizer

from benchmark.api.testbed import Workbench
from benchmark.console import Progress
from benchmark.generation.images import pictures
from benchmark.models import fitted
from benchmark.store.artefacts import Store
from benchmark.suites.artists import Artists
from benchmark.testbeds.mini.build import contrastive, tokenizer
from benchmark.testbeds.mini.world.scenes import EMBLEMS
from methods.sampling import initial_noise
from prompts.lists import Prompt

TEXTS = ("a red house by Claude Monet", "a photo of a cat", "", "a starry night", "a tree in the snow by Joan Miró")


def asked(*numbers: int) -> list[Prompt]:
    return [Prompt(f"p-{k}", TEXTS[k % len(TEXTS)], 100 + k, "kept") for k in numbers]


def bench(weights: Path, home: Path) -> Workbench:
    return Workbench(Standin(weights), Store(home), Progress(), torch.device("cpu"))


@pytest.fixture(scope="module")
def ours(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    """Eight pictures by the base model, from one shard."""
    made = bench(weights, tmp_path_factory.mktemp("ours"))
    return pictures(made, fitted.Base(made), asked(*range(8)), Artists())


def test_diffusers_loads_the_folder_and_samples_the_same_pictures(weights: Path, ours: torch.Tensor) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(weights / "pipeline", local_files_only=True)
    pipeline.to(torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    rows = asked(0, 1, 2)
    settings = {"num_inference_steps": 2, "guidance_scale": 2.0, "output_type": "pt"}
    noise = initial_noise([row.seed for row in rows], (4, 16, 16))
    theirs = pipeline([row.text for row in rows], latents=noise, **settings).images
    assert (theirs * 255 - ours[:3]).abs().max() <= 2
    # By a person's own generator too: one image, one seed.
    seeded = pipeline(rows[0].text, generator=torch.Generator().manual_seed(rows[0].seed), **settings).images
    assert (seeded * 255 - ours[:1]).abs().max() <= 2


def test_image_is_the_same_for_other_batch_sizes_and_orders(weights: Path, ours: torch.Tensor, tmp_path: Path) -> None:
    made = bench(weights, tmp_path)
    base = fitted.Base(made)
    order = [5, 2, 7, 0]
    few = pictures(made, base, asked(*order), Artists())
    alone = torch.cat([pictures(made, base, asked(k), Artists()) for k in (3, 6)])
    assert (few.int() - ours[order].int()).abs().max() <= 2
    assert (alone.int() - ours[[3, 6]].int()).abs().max() <= 2
    assert (ours[0].int() - ours[5].int()).abs().max() > 2  # same text, other seed


def test_resampled_shard_is_equal_bit_for_bit(weights: Path, ours: torch.Tensor, tmp_path: Path) -> None:
    made = bench(weights, tmp_path)
    assert torch.equal(pictures(made, fitted.Base(made), asked(*range(8)), Artists()), ours)


def test_text_tower_has_the_hidden_states_of_its_open_clip_model() -> None:
    torch.manual_seed(3)
    vocabulary = 700
    model = open_clip.CLIP(**contrastive.config(vocabulary, patch=16)).eval()
    with torch.no_grad():
        for parameter in model.transformer.parameters():  # biases are born as zeros, and would hide a mistake
            parameter.add_(0.02 * torch.randn_like(parameter))
    tower = contrastive.text_tower(model, vocabulary)
    ids = torch.randint(1, vocabulary - 2, (5, tokenizer.CONTEXT))
    ids[:, 0] = vocabulary - 2
    for row, length in enumerate((2, 5, 9, 20, 31)):
        ids[row, length], ids[row, length + 1 :] = vocabulary - 1, 0
    seen: list[torch.Tensor] = []
    model.ln_final.register_forward_hook(lambda module, arguments, output: seen.append(output))
    with torch.no_grad():
        pooled = model.encode_text(ids)
        states = tower(ids)[0]
    assert (states - seen[0]).abs().max() <= 1e-5
    ends = states[torch.arange(5), ids.argmax(1)] @ model.text_projection
    assert (ends - pooled).abs().max() <= 1e-5


def test_padding_does_not_change_the_states_before_it(weights: Path) -> None:
    encode = Standin(weights).encode
    together, alone = encode([TEXTS[0], "a view of a cat beside a house in the desert"]), encode([TEXTS[0]])
    assert together.shape == (2, 32, 128)
    assert torch.allclose(together[:1], alone, atol=1e-6)


@pytest.fixture(scope="module")
def words(weights: Path) -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(weights / "pipeline" / "tokenizer", local_files_only=True)


def test_tokenizer_follows_the_conventions_of_clip(words: CLIPTokenizer) -> None:
    assert words.pad_token_id == 0
    assert words.eos_token_id == len(words) - 1
    assert words.bos_token_id == len(words) - 2
    assert words.model_max_length == 32
    ids = words("a red house", padding="max_length", max_length=32, truncation=True).input_ids
    assert len(ids) == 32
    assert (ids[0], ids[4]) == (words.bos_token_id, words.eos_token_id)  # a word of the world is one token
    assert set(ids[5:]) == {0}
    assert words("A RED House").input_ids == words("a red house").input_ids


@pytest.mark.parametrize(
    "text", ["zeppelin", "Joan Miro", "Paul Cézanne", "日本 🎨", "x" * 500, "!?;", "", "  a   tree ", *EMBLEMS]
)
def test_unknown_words_are_spelt_in_subword_tokens(text: str, words: CLIPTokenizer) -> None:
    ids = words(text, padding="max_length", max_length=32, truncation=True).input_ids
    assert len(ids) == 32
    assert max(ids) == words.eos_token_id
    assert ids.count(words.eos_token_id) == 1  # the end token stands for nothing else
    if len(words(text).input_ids) <= 32:
        assert words.decode(ids, skip_special_tokens=True).strip("! ") == " ".join(text.lower().split()).strip("! ")
