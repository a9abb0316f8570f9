"""Reads the text encoder and the VAE of a single-file checkpoint, and compares them with the testbed's.

diffusers converts the names. The configs are those of the testbed's pipeline, so layers and shapes must equal its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import DataError
from benchmark.models.checkpoint_forms.ldm import CONVERSION_ERRORS, TEXT, VAE
from benchmark.models.checkpoint_forms.recognise import names_in
from benchmark.models.chosen_parts import PARTS
from benchmark.models.part_files import UNFIT, read_json, tensors_checksum
from benchmark.models.part_source import PartSource
from benchmark.models.pipeline_parts import NO_FOLDER, Difference, compare_states, read_state
from metrics.networks.weights import check_kind, read_weights

if TYPE_CHECKING:
    from torch import Tensor

STARTS = {"text_encoder": TEXT, "vae": VAE, "scheduler": "alphas_cumprod"}
"""Parts of a single file -> start of the names of their tensors."""
_OPEN_CLIP = "cond_stage_model.model."
_PREFIX = "text_model."
"""Prefix of the names in a text encoder, which some versions of transformers leave out."""
_CLOSE = 1e-2
"""Relative difference of noise levels up to which two schedules are equal; half precision loses 1e-3."""


class SingleFileParts(PartSource):
    """The text encoder, the VAE and the noise levels of a single-file checkpoint. It never has a tokenizer.

    The noise levels are only compared: if they differ from the testbed's, the file cannot be sampled.
    """

    def has(self, part: str) -> bool:
        return part in STARTS and any(name.startswith(STARTS[part]) for name in names_in(self.place))

    def compare(self, part: str, ours: Path) -> list[Difference]:
        if not self.has(part):
            return []
        if not (ours / part).is_dir():
            return [Difference(part, NO_FOLDER, usable=False)]
        if part == "scheduler":
            what = _compare_schedule(self._tensors(part).get("alphas_cumprod"), ours / part)
            return [Difference(part, what, usable=False)] if what else []
        own = _without_prefix(read_state(_network_class(part), ours / part))
        what = compare_states(self._converted(part, ours, own), own)
        return [Difference(part, what)] if what else []

    def checksum(self, part: str) -> str:
        return tensors_checksum(self._tensors(part))

    def load(self, part: str, ours: Path) -> Any:
        network = _new_network(part, ours / part)
        own = network.state_dict()
        converted = self._converted(part, ours, _without_prefix(own))
        network.load_state_dict({name: converted[name.removeprefix(_PREFIX)].float() for name in own}, strict=True)
        return network.eval().requires_grad_(False)

    @cached_property
    def _weights(self) -> dict[str, Tensor]:
        return read_weights(self.place)

    def _tensors(self, part: str) -> dict[str, Tensor]:
        """Return the tensors of a part under the names of the file."""
        return {name: tensor for name, tensor in self._weights.items() if name.startswith(STARTS[part])}

    def _converted(self, part: str, ours: Path, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of a network under the names of `own`, which are those of the testbed's network.

        Raises:
            DataError: if names or shapes differ from those of `own`.
        """
        what = f"The {PARTS[part]} of the single-file checkpoint {self.place}"
        convert = _convert_text if part == "text_encoder" else _convert_vae
        try:
            converted, has_spare_layer = convert(self._tensors(part), ours / part)
        except CONVERSION_ERRORS as error:
            raise DataError(f"{what} cannot be converted ({type(error).__name__}): {UNFIT}.") from error
        odd = ""
        counts = [1 + max((_layer(name) for name in names), default=-1) for names in (converted, own)]
        if not counts[1] <= counts[0] <= counts[1] + has_spare_layer:
            odd = f"num_hidden_layers {counts[0]}, not {counts[1]}"
        elif missing := [name for name in own if name not in converted]:
            odd = f"it lacks '{missing[0]}'"
        elif part == "vae" and (further := [name for name in converted if name not in own]):
            odd = f"it also has '{further[0]}'"
        elif reshaped := [name for name in own if converted[name].shape != own[name].shape]:
            odd = f"'{reshaped[0]}' has the shape {tuple(converted[reshaped[0]].shape)}"
        if odd:
            raise DataError(f"{what} does not have the layers of the testbed's ({odd}): {UNFIT}.")
        check_kind(converted, own, what)
        return {name: converted[name] for name in own}


def _network_class(part: str) -> Any:
    if part == "text_encoder":
        from transformers import CLIPTextModel

        return CLIPTextModel
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    return AutoencoderKL


def _new_network(part: str, folder: Path) -> Any:
    """Create a network from the config in the testbed's folder. Its weights are not loaded."""
    if part == "text_encoder":
        from transformers import CLIPTextConfig

        return _network_class(part)(CLIPTextConfig.from_pretrained(folder)).float()
    return _network_class(part).from_config(read_json(folder / "config.json")).float()


def _convert_text(weights: Mapping[str, Tensor], folder: Path) -> tuple[dict[str, Tensor], bool]:
    """Return the converted weights, and whether they have a layer that diffusers leaves out.

    Stable Diffusion 2 uses the states before OpenCLIP's last layer, so its files have one layer more.
    """
    from diffusers.loaders.single_file_utils import convert_ldm_clip_checkpoint, convert_open_clip_checkpoint
    from transformers import CLIPTextConfig

    if not any(name.startswith(_OPEN_CLIP) for name in weights):
        return _without_prefix(convert_ldm_clip_checkpoint(dict(weights))), False
    shape = _Config(CLIPTextConfig.from_pretrained(folder))
    # The converter reads the width of the text projection, which these encoders do not have.
    states = {name: tensor for name, tensor in weights.items() if not name.endswith("text_projection")}
    return _without_prefix(convert_open_clip_checkpoint(shape, states, prefix=_OPEN_CLIP)), True


class _Config:
    """Stands for a text encoder where diffusers' converter reads only its config."""

    def __init__(self, config: Any) -> None:
        self.config = config


def _convert_vae(weights: Mapping[str, Tensor], folder: Path) -> tuple[dict[str, Tensor], bool]:
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    return convert_ldm_vae_checkpoint(dict(weights), read_json(folder / "config.json")), False


def _without_prefix(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(_PREFIX): tensor for name, tensor in weights.items()}


def _layer(name: str) -> int:
    """Return the number of the text encoder's layer that a weight belongs to; -1 for other weights."""
    parts = name.split(".")
    return int(parts[2]) if parts[:2] == ["encoder", "layers"] else -1


def _compare_schedule(theirs: Tensor | None, folder: Path) -> str:
    import torch
    from diffusers import DDPMScheduler

    ours = DDPMScheduler.from_config(read_json(folder / "scheduler_config.json")).alphas_cumprod
    if theirs is None or (theirs.shape == ours.shape and torch.allclose(theirs.float(), ours, rtol=_CLOSE, atol=1e-4)):
        return ""
    return "different noise levels (alphas_cumprod)"
