import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, StableDiffusionPipeline
from reference import sampling as reference
from tiny import LENGTH, SAMPLER, SCHEDULER, SIZE, WIDTH, tiny_unet

from benchmark.errors import UsageError
from methods.sampling import Sampler, initial_noise, sample

SHAPE = (4, SIZE, SIZE)
SEEDS = [11, 2**63 - 1, 5]


def states(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(1)
    return torch.randn(count, LENGTH, WIDTH, generator=source), torch.randn(LENGTH, WIDTH, generator=source)


def vae() -> AutoencoderKL:
    torch.manual_seed(3)
    return AutoencoderKL(
        block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=4,
    ).eval()  # fmt: skip


@pytest.mark.parametrize("scheduler", ["pndm", "ddim"])
@pytest.mark.parametrize("kind", ["v_prediction", "epsilon"])
@pytest.mark.parametrize("guidance", [3.0, 1.0])
def test_latents_are_those_of_the_stable_diffusion_pipeline(scheduler: str, kind: str, guidance: float) -> None:
    unet, (text, null), noise = tiny_unet(), states(3), initial_noise(SEEDS, SHAPE)
    config = {**SCHEDULER, "prediction_type": kind}
    theirs_of = {"pndm": PNDMScheduler, "ddim": DDIMScheduler}[scheduler]
    extra = {"skip_prk_steps": True} if scheduler == "pndm" else {"clip_sample": False, "set_alpha_to_one": False}
    pipeline = StableDiffusionPipeline(
        vae=vae(), text_encoder=None, tokenizer=None, unet=unet, safety_checker=None, feature_extractor=None,
        scheduler=theirs_of(**config, steps_offset=1, **extra), requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        prompt_embeds=text, negative_prompt_embeds=null.expand_as(text), latents=noise.clone(), guidance_scale=guidance,
        num_inference_steps=5, height=SIZE * 2, width=SIZE * 2, output_type="latent",
    ).images  # fmt: skip
    sampler = SAMPLER.model_copy(update={"scheduler": scheduler, "guidance": guidance})
    ours = sample(unet, config, text, null, noise, sampler)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scheduler", ["pndm", "ddim"])
def test_latents_are_those_of_the_papers(scheduler: str) -> None:
    unet, (text, null), noise = tiny_unet(), states(1), initial_noise([4], SHAPE)

    def velocity(x: torch.Tensor, t: int) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            return unet(x.float(), t, null[None])[0].double(), unet(x.float(), t, text)[0].double()

    levels = reference.signal(SCHEDULER["beta_start"], SCHEDULER["beta_end"], 1000)
    expected = reference.sample(velocity, noise, levels, 5, 3.0, multistep=scheduler == "pndm")
    ours = sample(unet, SCHEDULER, text, null, noise, SAMPLER.model_copy(update={"scheduler": scheduler}))
    torch.testing.assert_close(ours, expected.float(), rtol=1e-3, atol=1e-3)


def test_an_image_does_not_depend_on_its_batch() -> None:
    unet, decoder, (text, null), noise = tiny_unet(), vae(), states(3), initial_noise(SEEDS, SHAPE)

    def images(rows: list[int]) -> torch.Tensor:
        latents = sample(unet, SCHEDULER, text[rows], null, noise[rows], SAMPLER)
        with torch.no_grad():
            return (decoder.decode(latents).sample / 2 + 0.5).clamp(0, 1)

    whole = images([0, 1, 2])
    for rows in ([2, 0, 1], [1], [2, 1]):
        assert (images(rows) - whole[rows]).abs().max() <= 2 / 255


def test_each_image_has_noise_of_its_own_seed_alone() -> None:
    noise = initial_noise(SEEDS, SHAPE)
    assert torch.equal(noise[1:2], initial_noise(SEEDS[1:2], SHAPE))
    assert not torch.equal(noise[0], noise[2])


def test_sampling_leaves_the_unet_as_it_was() -> None:
    unet = tiny_unet().train()
    text, null = states(1)
    assert not sample(unet, SCHEDULER, text, null, initial_noise([1], SHAPE), SAMPLER).requires_grad
    assert unet.training


def test_pndm_refuses_sample_prediction_and_ddim_takes_it() -> None:
    text, null = states(1)
    config, noise = {**SCHEDULER, "prediction_type": "sample"}, initial_noise([1], SHAPE)
    with pytest.raises(UsageError, match="ddim"):
        sample(tiny_unet(), config, text, null, noise, SAMPLER)
    assert sample(tiny_unet(), config, text, null, noise, Sampler(scheduler="ddim", steps=2)).shape == noise.shape
