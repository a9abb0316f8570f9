"""Checks that parts of a checkpoint's pipeline fit the U-Net and the testbed's sampling, before anything is sampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.api.testbed import Testbed
from benchmark.errors import DataError, SamplingError, UsageError
from benchmark.json_types import NetworkConfig
from benchmark.models.part_files import UNFIT, first_line, parameters, read_json

if TYPE_CHECKING:
    from torch import Tensor

    from methods.sampling import Sampler

Encode = Callable[[Sequence[str]], "Tensor"]
PREDICTIONS = ("epsilon", "v_prediction", "sample")
"""Prediction types of the solvers DDIM and PNDM of diffusers; PNDM lacks "sample"."""
PROBE = 8
"""Height and width of the latent that a VAE decodes for a check."""


def encoder(testbed: Testbed, text_encoder: Any, tokenizer: Any) -> Encode:
    """Return the testbed's function from texts to hidden states, with this text encoder and tokenizer.

    A word that the tokenizer has in several tokens (`<word>`, `<word>_1`, ...: textual inversion with several vectors)
    is replaced by all of them, as pipelines of diffusers do.

    Raises:
        UsageError: if the testbed cannot use a different text encoder.
    """
    from diffusers.loaders.textual_inversion import TextualInversionLoaderMixin

    _check_supported(testbed, "encode", "encoder_of")
    encode, words = testbed.encoder_of(text_encoder, tokenizer), TextualInversionLoaderMixin()
    return lambda texts: encode(words.maybe_convert_prompt(list(texts), tokenizer))


def decoder(testbed: Testbed, vae: Any) -> Callable[[Tensor], Tensor]:
    """Return the testbed's function from latents to pictures, with this VAE.

    Raises:
        UsageError: if the testbed cannot use a different VAE.
    """
    _check_supported(testbed, "decode", "decoder_of")
    return testbed.decoder_of(vae)


def _check_supported(testbed: Testbed, method: str, variant: str) -> None:
    """Raise UsageError if a subclass overrides `method` but not `variant`, which then computes something different."""
    parents = type(testbed).__mro__
    owner, variant_owner = (next(cls for cls in parents if name in vars(cls)) for name in (method, variant))
    if owner is not variant_owner and issubclass(owner, variant_owner) and variant_owner is not Testbed:
        raise UsageError(
            f"Testbed '{testbed.name}' overrides `{method}` but not `{variant}`, so it cannot sample with the "
            f"checkpoint's own parts: implement `{variant}` in its class, or score only the U-Net with --parts unet."
        )


def check_text(testbed: Testbed, text_encoder: Any, tokenizer: Any, width: int, where: str) -> None:
    """Check that a text encoder and a tokenizer fit together and fit the U-Net, and encode a text with them.

    Args:
        testbed: the testbed that samples.
        text_encoder: a CLIPTextModel.
        tokenizer: a CLIPTokenizer.
        width: the U-Net's cross_attention_dim.
        where: what messages call their origin, such as "of the checkpoint x".

    Raises:
        DataError: if they do not fit.
    """
    config, length = text_encoder.config, tokenizer.model_max_length
    rows, highest = text_encoder.get_input_embeddings().weight.shape[0], max(tokenizer.get_vocab().values())
    if config.hidden_size != width:
        raise DataError(
            f"The text encoder {where} has hidden_size {config.hidden_size}, and the U-Net needs {width} "
            f"(cross_attention_dim): {UNFIT}."
        )
    if length != config.max_position_embeddings:
        raise DataError(
            f"The tokenizer {where} gives texts of {length} tokens, and the text encoder has "
            f"{config.max_position_embeddings} positions: {UNFIT}."
        )
    if highest >= rows:
        raise DataError(
            f"The tokenizer {where} has token ids up to {highest}, and the text encoder embeds only {rows} tokens: "
            f"{UNFIT}."
        )
    if tokenizer.pad_token_id is None:
        raise DataError(f"The tokenizer {where} has no padding token: save it again with one, or {UNFIT}.")
    states = _tried(lambda: encoder(testbed, text_encoder, tokenizer)([""]), f"The text encoder {where}")
    text_encoder.cpu()  # it is needed only after all training
    if tuple(states.shape) != (1, length, width) or not states.isfinite().all():
        raise DataError(
            f"The text encoder {where} gives hidden states that are not finite or have a wrong shape: {UNFIT}."
        )


def check_vae(testbed: Testbed, vae: Any, where: str) -> None:
    """Check that a VAE decodes the testbed's latents to pictures of the testbed's size, and decode a small latent.

    Raises:
        DataError: if it does not.
    """
    import torch

    config, ours = vae.config, read_vae_config(testbed.pipeline)
    factors = [2 ** (len(blocks) - 1) for blocks in (config.block_out_channels, ours["block_out_channels"])]
    channels = testbed.sampler.latent_channels
    shift = next((name for name in ("shift_factor", "latents_mean", "latents_std") if config.get(name) is not None), "")
    facts = [
        (config.latent_channels != channels, f"has {config.latent_channels} latent channels, the testbed's {channels}"),
        (factors[0] != factors[1], f"downscales by a factor of {factors[0]}, the testbed's by {factors[1]}"),
        (config.out_channels != 3, f"decodes pictures with {config.out_channels} channels instead of 3"),
        (config.get(shift) != ours.get(shift), f"shifts latents ({shift}), which the testbed's sampling does not do"),
    ]
    for wrong, what in facts:
        if wrong:
            raise DataError(f"The VAE {where} {what}: {UNFIT}.")
    decode = decoder(testbed, vae)  # moves the VAE to the testbed's device
    latents = torch.zeros(1, channels, PROBE, PROBE, device=vae.device)
    pictures = _tried(lambda: decode(latents), f"The VAE {where}")
    vae.cpu()  # it is needed only after all training
    if tuple(pictures.shape) != (1, 3, PROBE * factors[1], PROBE * factors[1]):
        raise DataError(f"The VAE {where} decodes pictures of shape {tuple(pictures.shape)}: {UNFIT}.")


def read_vae_config(pipeline: Path) -> NetworkConfig:
    """Return the config of a pipeline's VAE, with the defaults of diffusers."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    return {**parameters(AutoencoderKL), **read_json(pipeline / "vae" / "config.json")}


def check_scheduler(config: NetworkConfig, sampler: Sampler, where: str) -> None:
    """Check that the testbed's solver can sample with a noise schedule.

    Args:
        config: the scheduler's config.
        sampler: the testbed's sampling settings.
        where: what messages call its origin, such as "of the checkpoint x".

    Raises:
        DataError: for flow matching, for schedules that the solver does not have, and for invalid betas.
    """
    from methods.sampling import make_scheduler

    kind, name = config.get("prediction_type", "epsilon"), f"The noise schedule {where}"
    if (config.get("beta_start") is None and config.get("trained_betas") is None) or config.get("use_flow_sigmas"):
        raise DataError(f"{name} is one of flow matching, which the testbed's solver cannot sample: {UNFIT}.")
    if kind not in PREDICTIONS:
        raise DataError(
            f"{name} has prediction_type {kind}, which is none of {', '.join(PREDICTIONS)} of the testbed's solver: "
            f"{UNFIT}."
        )
    if config.get("thresholding"):
        raise DataError(f"{name} has thresholding, which is for models of pixels and not of latents: {UNFIT}.")
    try:
        signal = make_scheduler(config, sampler).alphas_cumprod
    except (UsageError, NotImplementedError, ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"{name} cannot be sampled by the testbed's solver ({first_line(error)}): {UNFIT}.") from error
    # The share of signal falls from nearly 1 to nearly 0; it is 0 at the end for a zero terminal SNR.
    if not (bool(signal.isfinite().all()) and float(signal.min()) >= 0 and float(signal.max()) < 1):
        raise DataError(f"{name} has betas that are not between 0 and 1: {UNFIT}.")


def _tried(compute: Callable[[], Tensor], what: str) -> Tensor:
    """Return the result of `compute`; DataError, whose message begins with `what`, if it fails."""
    try:
        return compute()
    except (SamplingError, TypeError, ValueError, RuntimeError, IndexError, ZeroDivisionError) as error:
        raise DataError(f"{what} cannot be used ({first_line(error).rstrip('.')}): {UNFIT}.") from error
