"""Names for JSON objects whose keys are open: which kind of object a function takes, and what its keys are.

An object whose keys are fixed has a type of its own beside the code that makes it, such as `LedgerRow`.
"""

from typing import Any

Identity = dict[str, Any]
"""Everything that decides an artefact, in canonical JSON types. Its hash is the artefact's key in the store, so a new
entry makes a new artefact."""
Settings = dict[str, Any]
"""Fields of a config class by name: a preset, the fields set by `--set`, or all that change results."""
NetworkConfig = dict[str, Any]
"""The config of a network or scheduler, as diffusers and transformers keep it in a `config.json`."""
CurveRow = dict[str, Any]
"""Mean losses at one place of a training: `phase`, `iteration` (from 1 in its phase), `flops` of all phases up to
there, and a number for each loss of the method, `loss` among them."""
Counted = dict[str, Any]
"""How much a model computes: `share` of the base's MACs, how it was counted (`counter`, `latent_size`, `text_length`,
`published`), and the FLOPs `spent` on choosing what to keep; of a model made elsewhere also its `checkpoint`."""
JsonObject = dict[str, Any]
"""What a JSON or TOML file holds, or will hold: a report, or a file whose keys are unknown until they are checked."""
