"""Reads by which factor a LoRA scales its change: alpha / rank, or alpha / sqrt(rank) for a rank-stabilised one.

kohya, LyCORIS      a tensor `<layer>.alpha` per layer
PEFT                `lora_alpha`, `alpha_pattern` and `use_rslora` in adapter_config.json
diffusers           the same fields in the header of the safetensors file, if the training script stored them
none of these       alpha is the rank, as diffusers takes it, so the factor is 1
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.errors import DataError
from benchmark.json_types import JsonObject
from benchmark.models.pipeline_parts import read_json

METADATA = "lora_adapter_metadata"
"""Field of a safetensors header in which diffusers stores the config of a LoRA."""
_COMPATIBLE_STARTS = (True, False, None, "gaussian", "orthogonal", "eva")
"""Values of PEFT's `init_lora_weights` that leave the weights of the base as they are."""
_SLOW, MOST_REPEATS = re.compile(r"\)[*+{]|[*+}][*+{]"), 3
"""Repeated groups, and the largest number of repeats in a pattern: with more, matching can take years."""
_REFUSED = ("fan_in_fan_out", "layer_replication", "alora_invocation_tokens", "trainable_token_indices")
"""Fields of PEFT's config that change what the matrices mean."""


@dataclass(frozen=True)
class Scaling:
    """The factors of a LoRA's layers.

    Args:
        path: the file of the LoRA, for messages.
        alphas: alpha of each layer for which the file has one.
        config: PEFT's config of the network's LoRA; empty if there is none.
    """

    path: Path
    alphas: Mapping[str, float]
    config: JsonObject = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.config:
            _check_config(self.path, self.config)
        if self.config and self.alphas:
            raise DataError(
                f"The LoRA {self.path} states its alpha twice, in tensors and in a config of PEFT: remove one of them."
            )

    def of(self, layer: str, rank: int) -> float:
        """Return the factor of a layer of this rank.

        Raises:
            DataError: if alpha is not a finite number other than 0, or the config states a different rank.
        """
        if not self.config:
            return self._alpha(layer, self.alphas.get(layer, rank)) / rank
        stated = self._pattern("rank_pattern", layer, self.config.get("r", rank))
        if stated != rank:
            raise DataError(
                f"The LoRA {self.path} has rank {rank} in '{layer}', and its config states {stated}: give the "
                "adapter_config.json that was saved with it."
            )
        alpha = self._alpha(layer, self._pattern("alpha_pattern", layer, self.config["lora_alpha"]))
        return alpha / (math.sqrt(rank) if self.config.get("use_rslora") else rank)

    def _alpha(self, layer: str, alpha: Any) -> float:
        if not isinstance(alpha, int | float) or not math.isfinite(alpha) or alpha == 0:
            raise DataError(f"The LoRA {self.path} has alpha {alpha} in '{layer}': it must be a number other than 0.")
        return float(alpha)

    def _pattern(self, name: str, layer: str, default: Any) -> Any:
        """Return the value of the first pattern that matches the end of a layer's name, as PEFT reads patterns."""
        for pattern, value in (self.config.get(name) or {}).items():
            if _SLOW.search(pattern) or len(re.findall("[*+{]", pattern)) > MOST_REPEATS:
                raise DataError(
                    f"The LoRA {self.path} has a {name} in its config with the pattern '{pattern[:40]}', which repeats "
                    "a group or too much: write the names of the layers."
                )
            try:
                if re.match(rf"(.*\.)?({pattern})$", layer):
                    return value
            except re.error as error:
                raise DataError(f"The LoRA {self.path} has an invalid {name} '{pattern}' in its config.") from error
        return default


def read_config(path: Path, config: Path | None, part: str) -> JsonObject:
    """Return PEFT's config of a LoRA: that of `adapter_config.json`, or the one in the header of a safetensors file.

    The header has one config for each network, such as "unet"; `part` names the network.

    Raises:
        DataError: if it cannot be read.
    """
    if config is not None:
        return read_json(config)
    if path.suffix != ".safetensors":
        return {}
    from safetensors import safe_open

    with safe_open(path, "pt") as opened:
        text = (opened.metadata() or {}).get(METADATA)
    if text is None:
        return {}
    try:
        fields = dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise DataError(f"The LoRA {path} has an invalid config in its header: save it again.") from error
    start = f"{part}."
    if any(name.startswith(("unet.", "text_encoder")) for name in fields):
        return {name.removeprefix(start): value for name, value in fields.items() if name.startswith(start)}
    return fields


def _check_config(path: Path, config: JsonObject) -> None:
    """Raise DataError if the config is not that of a LoRA whose change is `factor * up @ down`."""
    kind = config.get("peft_type") or "LORA"
    if kind != "LORA":
        raise DataError(f"The adapter {path} is a {kind}, not a LoRA: merge it into its model, and save the U-Net.")
    switches = [name for name in config if name.startswith("use_") and name != "use_rslora"]
    if used := [name for name in (*switches, *_REFUSED) if config.get(name)]:
        label = "DoRA" if used[0] == "use_dora" else f"LoRA with {used[0]}"
        raise DataError(
            f"The adapter {path} is a {label}, which this benchmark does not merge: merge it into its model with PEFT, "
            "and save the U-Net."
        )
    start = config.get("init_lora_weights")
    if start not in _COMPATIBLE_STARTS:
        raise DataError(
            f"The LoRA {path} was trained from modified weights of its base (init_lora_weights {start}), so it does "
            "not fit the testbed's: convert it to a plain LoRA with PEFT, or merge it and save the U-Net."
        )
    if "lora_alpha" not in config:
        raise DataError(f"The config of the LoRA {path} lacks lora_alpha: add it.")
    if any(not isinstance(config.get(name) or {}, dict) for name in ("rank_pattern", "alpha_pattern")):
        raise DataError(f"The config of the LoRA {path} has a rank_pattern or alpha_pattern that is no JSON object.")
