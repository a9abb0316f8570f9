"""A testbed like mini that a TOML file defines."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from benchmark.json_types import Identity
from benchmark.testbeds.mini.definition import Definition, prompts_for
from benchmark.testbeds.mini.testbed import Mini
from methods.sampling import Sampler
from prompts.concepts import Concept, Kind
from prompts.lists import Prompt, read_prompts


class MiniFromFile(Mini):
    """mini with the weights, targets, prompts, sampling settings and budget of a definition."""

    def __init__(self, definition: Definition, device: str = "cpu") -> None:
        super().__init__(definition.weights, device)
        self.definition, self.name, self.default_flops = definition, definition.name, definition.flops
        self.license = definition.license
        self.sampler = Sampler(steps=definition.steps, guidance=definition.guidance)

    def identity(self) -> Identity:
        identity = super().identity()
        if self.definition.prompts is not None:
            checksum = hashlib.sha256(self.definition.prompts.read_bytes()).hexdigest()
            identity["data"] = f"{identity['data']} {checksum[:20]}"
        return identity

    def concept(self, targets: tuple[str, ...], kind: Kind = "style") -> Concept:
        return super().concept(targets or (tuple(self.definition.targets) if kind == "style" else ()), kind)

    def prompts(self, suite: str, concept: Concept) -> Sequence[Prompt]:
        if suite != "artists" or self.definition.prompts is None:
            return super().prompts(suite, concept)
        return prompts_for(read_prompts(self.definition.prompts), concept, str(self.definition.prompts))
