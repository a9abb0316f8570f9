"""Architecture of a pruned U-Net, and construction of the smaller dense network from the base.

Only widths inside modules are cut: norm2 groups between conv1 and conv2 of a resnet, heads of an attention, and hidden
units of a feed-forward. Whole resnets and transformers can be dropped where the number of channels does not change
(`depth.py`). Block outputs keep their channels, so feature distillation needs no projection.

A gate is here a module whose inner width can be cut. Its elements are those norm groups, heads or hidden units.

The cuts do not use torch-pruning, which follows a cut through all dependent layers: here a cut never leaves its module.
"""

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmark.errors import DataError, UsageError
from benchmark.json_types import JsonObject, NetworkConfig
from methods.pruning.depth import drop

RECIPE = 1
"""Version of the pruning methods; increase it when a code change changes what one of them keeps."""
Widths = dict[str, tuple[int, ...]]


def gates(unet: UNet2DConditionModel) -> dict[str, nn.Module]:
    """Return the modules whose inner width can be cut, by name.

    Raises:
        UsageError: a module has a different structure than in Stable Diffusion 1.x and 2.x.
    """
    cuttable = (ResnetBlock2D, Attention, FeedForward)
    modules: dict[str, nn.Module] = {n: m for n, m in unet.named_modules() if isinstance(m, cuttable)}
    for name, module in modules.items():
        if (
            (isinstance(module, ResnetBlock2D) and module.time_embedding_norm != "default")
            or (isinstance(module, Attention) and (module.inner_dim != module.inner_kv_dim or module.to_k is None))
            or (isinstance(module, FeedForward) and not isinstance(module.net[0], GEGLU))
        ):
            raise UsageError(
                f"Pruning cannot cut module '{name}', because it is not built as in Stable Diffusion 1.x and 2.x."
            )
    return modules


def width(module: nn.Module) -> int:
    """Return the number of elements of a gate."""
    if isinstance(module, ResnetBlock2D):
        return module.norm2.num_groups
    return int(module.heads) if isinstance(module, Attention) else module.net[2].in_features  # type: ignore


def reader(module: Any) -> nn.Module:
    """Return the layer whose input channels are the elements of a gate."""
    if isinstance(module, ResnetBlock2D):
        return module.conv2
    return module.to_out[0] if isinstance(module, Attention) else module.net[2]


@dataclass(frozen=True)
class Architecture:
    """Indices of the kept elements of every remaining gate, by module name, in increasing order."""

    resnets: Widths
    """Kept groups of norm2."""
    attentions: Widths
    """Kept heads."""
    feedforwards: Widths
    """Kept hidden units."""
    dropped: tuple[str, ...] = ()
    """Names of dropped resnets and transformers; all gates in them are dropped as well."""

    @classmethod
    def of(
        cls, unet: UNet2DConditionModel, kept: Mapping[str, Iterable[int]], dropped: Iterable[str] = ()
    ) -> "Architecture":
        """Return the architecture that keeps the elements `kept` of each gate, without gates in `dropped` modules."""
        dropped_names = tuple(dropped)
        kinds: dict[type[nn.Module], Widths] = {ResnetBlock2D: {}, Attention: {}, FeedForward: {}}
        for name, module in gates(unet).items():
            if not within(name, dropped_names):
                kind = next(kind for kind in kinds if isinstance(module, kind))
                kinds[kind][name] = tuple(sorted(kept[name]))
        resnets, attentions, feedforwards = kinds.values()
        return cls(resnets, attentions, feedforwards, dropped_names)

    @classmethod
    def full(cls, unet: UNet2DConditionModel) -> "Architecture":
        """Return the architecture that keeps everything in `unet`."""
        return cls.of(unet, {name: range(width(module)) for name, module in gates(unet).items()})

    def kept(self) -> Widths:
        """Return the kept elements of all gates, by module name."""
        return {**self.resnets, **self.attentions, **self.feedforwards}

    def to_json(self) -> JsonObject:
        fields = asdict(self)
        # An empty `dropped` is left out, so that files without it are the same as before depth pruning was added.
        return fields if self.dropped else {kind: fields[kind] for kind in fields if kind != "dropped"}

    @classmethod
    def from_json(cls, data: Any) -> "Architecture":
        """Return the architecture that `to_json` wrote. Raises DataError if `data` is not one."""
        try:
            dropped = tuple(map(str, data.get("dropped", ())))
            kinds = {kind: widths for kind, widths in data.items() if kind != "dropped"}
            widths = {kind: {name: tuple(map(int, kept)) for name, kept in w.items()} for kind, w in kinds.items()}
            return cls(**widths, dropped=dropped)
        except (AttributeError, TypeError, ValueError) as error:
            raise DataError(
                f"The stored architecture of the pruned U-Net cannot be read ({error}): prune again."
            ) from error

    def apply(self, unet: UNet2DConditionModel) -> UNet2DConditionModel:
        """Return a smaller dense copy of the base `unet`.

        Raises:
            DataError: the architecture belongs to a different U-Net.
        """
        small = copy.deepcopy(unet)
        drop(small, self.dropped)
        modules, kept = gates(small), self.kept()
        if modules.keys() != kept.keys():
            odd = sorted(modules.keys() ^ kept.keys())[0]
            raise DataError(f"The architecture belongs to a different U-Net: only one of them has module '{odd}'.")
        for name, module in modules.items():
            _check(name, kept[name], width(module))
            if len(kept[name]) < width(module):
                _cut(module, kept[name])
        return small


def within(name: str, modules: Iterable[str]) -> bool:
    """Return whether the module `name` is one of `modules` or inside one of them."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _check(name: str, kept: Sequence[int], whole: int) -> None:
    rising = all(a < b for a, b in pairwise(kept))
    if not kept or not rising or kept[0] < 0 or kept[-1] >= whole:
        raise DataError(
            f"The architecture of '{name}' must list 1 to {whole} indices in increasing order, from 0 to {whole - 1}."
        )


def spread(kept: Sequence[int], size: int) -> Tensor:
    """Return the channel indices of the kept elements, each of which has `size` channels."""
    return (torch.tensor(kept)[:, None] * size + torch.arange(size)).flatten()


def _take(module: nn.Module, dimension: int, index: Tensor) -> None:
    """Keep the outputs (dimension 0) or inputs (1) at `index` of a linear layer, convolution or norm, in place."""
    for name in ("weight", "bias"):
        tensor = getattr(module, name, None)
        if tensor is not None and tensor.ndim > dimension:
            selected = tensor.detach().index_select(dimension, index.to(tensor.device))
            setattr(module, name, nn.Parameter(selected, requires_grad=tensor.requires_grad))
    for name in (("out_features", "out_channels", "num_channels"), ("in_features", "in_channels"))[dimension]:
        if hasattr(module, name):
            setattr(module, name, len(index))


def _cut(module: Any, kept: Sequence[int]) -> None:
    writers: list[nn.Module]
    last = reader(module)
    if isinstance(module, ResnetBlock2D):
        channels = spread(kept, module.norm2.num_channels // module.norm2.num_groups)
        writers = [module.conv1, module.norm2] + ([module.time_emb_proj] if module.time_emb_proj is not None else [])
        module.norm2.num_groups = len(kept)
    elif isinstance(module, Attention):
        channels = spread(kept, module.inner_dim // module.heads)
        writers = [module.to_q, module.to_k, module.to_v]
        # diffusers' processors read these fields; `sliceable_head_dim` bounds sliced attention.
        module.heads = module.sliceable_head_dim = len(kept)
        module.inner_dim = module.inner_kv_dim = len(channels)
    else:
        channels = torch.tensor(kept)
        # GEGLU's projection holds values in its first half and gates in its second.
        _take(module.net[0].proj, 0, torch.cat([channels, channels + width(module)]))
        writers = []
    for writer in writers:
        _take(writer, 0, channels)
    _take(last, 1, channels)


def load_pruned(
    base_config: NetworkConfig, architecture: Architecture, state_dict: dict[str, Tensor]
) -> UNet2DConditionModel:
    """Rebuild a pruned U-Net from the config of the base, its architecture and its weights.

    Raises:
        DataError: a name or a shape of the weights does not match.
    """
    with torch.device("meta"):
        unet = architecture.apply(UNet2DConditionModel.from_config(base_config))
    try:
        unet.load_state_dict(state_dict, strict=True, assign=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise DataError(f"The weights do not match the pruned architecture: {reason}") from error
    return unet.eval()


def config_of(unet: UNet2DConditionModel) -> NetworkConfig:
    """Return the config of the base, which every pruned copy shares, without the fields that diffusers adds."""
    return {key: value for key, value in unet.config.items() if not key.startswith("_") or key == "_class_name"}


def write_pruned(folder: Path, unet: UNet2DConditionModel, architecture: Architecture) -> None:
    """Write `config.json` (of the base), `architecture.json` and `unet.safetensors` into an existing folder."""
    (folder / "config.json").write_text(json.dumps(config_of(unet), indent=1, sort_keys=True))
    (folder / "architecture.json").write_text(json.dumps(architecture.to_json(), separators=(",", ":")))
    save_file({n: t.detach().cpu().contiguous() for n, t in unet.state_dict().items()}, folder / "unet.safetensors")


def read_pruned(folder: Path) -> tuple[UNet2DConditionModel, Architecture]:
    """Read the files that `write_pruned` created. Raises DataError if one of them is missing or damaged."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        architecture = Architecture.from_json(json.loads((folder / "architecture.json").read_bytes()))
        weights = load_file(folder / "unet.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise DataError(f"The pruned U-Net in {folder} cannot be read ({error}): delete the folder.") from error
    return load_pruned(config, architecture, weights), architecture
