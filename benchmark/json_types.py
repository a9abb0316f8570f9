"""Type aliases for JSON objects with open keys, which document the kinds of objects that functions take.

Objects with fixed keys have their own types, next to the code that creates them, such as `LedgerRow`.
"""

from typing import Any

Identity = dict[str, Any]
"""Everything that determines an artefact, in canonical JSON types. Its hash is the artefact's key in the store, so an
additional entry gives a different artefact."""
Settings = dict[str, Any]
"""Fields of a config class by name: those of a preset, those set with `--set`, or all that affect results."""
NetworkConfig = dict[str, Any]
"""The config of a network or scheduler, as diffusers and transformers store it in a `config.json`."""
CurveRow = dict[str, Any]
"""Mean losses at one point of a training: `phase`, `iteration` (from 1 in its phase), `flops` of all phases up to this
point, and a value for each loss of the method, one of them named `loss`."""
Counted = dict[str, Any]
"""Computational cost of a model: `share` of the base's MACs, how it was counted (`counter`, `latent_size`,
`text_length`, `published`), and the FLOPs `spent` on pruning; for external models also the `checkpoint`'s checksum, its
`own parts`, `embeddings`, and the `hub` repository and commit that it was downloaded from."""
JsonObject = dict[str, Any]
"""Content of a JSON or TOML file: a report, or a file whose keys have not been checked yet."""
