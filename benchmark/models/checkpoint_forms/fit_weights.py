"""Fits a file of weights to the testbed's U-Net: all weights, pruned or not, or some that replace those of the base."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import DataError
from metrics.networks.weights import check_kind, is_averaged

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import Tensor

WRAPPED = ("unet.", "model.unet.", "model.")
"""Prefixes that wrappers of the U-Net add to the names of its weights."""
EMBEDDINGS = "it holds embeddings of new words (textual inversion) and no U-Net, so it cannot be scored"
AVERAGED = "it holds averaged (EMA) weights; save one model, averaged or not, under the names that diffusers uses"
OTHER_FORMS = {
    "*.processor.": "it holds attention processors, which change how a U-Net computes; merge them, and save the U-Net",
    "text_encoder": "it holds other parts next to the U-Net; save only the U-Net",
    "class_embedding.": "its U-Net needs class labels, which this benchmark does not provide",
    "add_embedding.": "its U-Net needs further embeddings (as in SDXL), which this benchmark does not provide",
    "emb_params": EMBEDDINGS,
    "string_to_param": EMBEDDINGS,
    "encoder_hid_proj.": "its U-Net projects states of a different text encoder, which this benchmark does not provide",
    "time_embedding.cond_proj.": "its U-Net needs a guidance embedding (as in LCM), which this benchmark does not "
    "provide",
}
"""Advice for a file that holds unknown names of weights. A key is the start of such a name or, after `*`, any part of
it. Where no key matches, the weights must be renamed to diffusers' names."""


def check_inputs(place: Path, config: Mapping[str, Any], base: UNet2DConditionModel) -> None:
    """Raise DataError if a config has different inputs or outputs from the base's."""
    from methods.sampling import inputs

    fields, base_fields = inputs(config), inputs(base.config)
    if different := [name for name in base_fields if fields[name] != base_fields[name]]:
        name = different[0]
        raise DataError(
            f"The checkpoint {place} has {name} {fields[name]}, the testbed's model {base_fields[name]}: choose the "
            "testbed of its base model; this benchmark gives a U-Net noise, time and text, and no other input."
        )


def fit_weights(path: Path, weights: dict[str, Tensor], base: UNet2DConditionModel) -> UNet2DConditionModel:
    """Put weights into the base, or into a copy of it that is pruned to their shapes."""
    own = base.state_dict()
    for prefix in WRAPPED:
        if all(name.startswith(prefix) and name.removeprefix(prefix) in own for name in weights):
            weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    foreign = [name for name in weights if name not in own]
    if foreign:
        remedies = [AVERAGED] if any(is_averaged(name.partition(".")[0]) for name in foreign) else []
        remedies += [text for mark, text in OTHER_FORMS.items() if any(_matches(name, mark) for name in foreign)]
        remedies += [EMBEDDINGS] if not any("." in name for name in weights) else []
        remedy = (remedies or ["they must be named as diffusers names them"])[0]
        raise DataError(
            f"The weights {path} are not those of the testbed's U-Net: {len(foreign)} of {len(weights)} names do not "
            f"exist in it, the first is '{foreign[0]}'; {remedy}."
        )
    check_kind(weights, own, f"The weights {path}")
    check_inputs(path, {**base.config, **_infer_widths(weights)}, base)
    reshaped = [name for name in weights if weights[name].shape != own[name].shape]
    weights = {name: tensor.float() for name, tensor in weights.items()}
    dropped = _find_dropped(weights, base)
    if dropped:  # not a partial file as ESD publishes: those lack parts of modules, never only whole modules
        return _build_pruned(path, weights, base, dropped)
    if not reshaped:
        base.load_state_dict({**own, **weights}, strict=True)
        return base
    if len(weights) < len(own):
        lacking = next(name for name in own if name not in weights)
        raise DataError(
            f"The weights {path} have '{reshaped[0]}' in a different shape than the testbed's U-Net, and '{lacking}' "
            f"is missing: a partial file must have the base's shapes, and a file of a pruned U-Net must be complete."
        )
    return _build_pruned(path, weights, base, ())


def _infer_widths(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """Infer fields of a U-Net's config from the shapes of its weights; fields without such weights are left out."""
    text = next((name for name in weights if name.endswith("attn2.to_k.weight")), "")
    places = (
        ("in_channels", "conv_in.weight", 1),
        ("out_channels", "conv_out.weight", 0),
        ("cross_attention_dim", text, 1),
    )
    return {
        field: int(weights[name].shape[axis])
        for field, name, axis in places
        if name in weights and weights[name].ndim > axis
    }


def _matches(name: str, mark: str) -> bool:
    """Return whether the name of a weight matches a key of `OTHER_FORMS`."""
    if mark.startswith("*"):
        return mark[1:] in name.lower()
    return any(name.startswith(f"{p}{mark}") for p in ("", *WRAPPED))


def _find_dropped(weights: Mapping[str, Tensor], base: UNet2DConditionModel) -> tuple[str, ...]:
    """Return the resnets and transformers that have no weights; empty if any other weight is missing too."""
    from methods.pruning.architecture import within
    from methods.pruning.depth import droppable

    empty = tuple(name for name in droppable(base) if not any(within(key, [name]) for key in weights))
    missing = [key for key in base.state_dict() if key not in weights]
    return empty if all(within(key, empty) for key in missing) else ()


def _build_pruned(
    path: Path, weights: Mapping[str, Tensor], base: UNet2DConditionModel, dropped: tuple[str, ...]
) -> UNet2DConditionModel:
    """Build a U-Net with pruned inner widths. The weights are pruned already, so only the number of retained elements
    matters, not which ones."""
    from methods.pruning.architecture import Architecture, gates, load_pruned, reader, width, within

    names = {id(module): name for name, module in base.named_modules()}
    kept_elements = {}
    for name, gate in gates(base).items():
        if not within(name, dropped):
            layer: Any = reader(gate)  # its inputs are cut
            channels_per_element = layer.weight.shape[1] // width(gate)
            kept_elements[name] = range(weights[f"{names[id(layer)]}.weight"].shape[1] // channels_per_element)
    try:
        return load_pruned(dict(base.config), Architecture.of(base, kept_elements, dropped), dict(weights))
    except DataError as error:
        raise DataError(f"The weights {path} are not the testbed's U-Net with smaller inner widths: {error}") from error
