"""The public prompt lists: what each looks like and where to get it. None is shipped: they hold offensive text.

Facts are from the lists' own pages and repositories; a revision, file name or checksum that we do not know is None.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmark.registry import unknown

ONLY = "*"
"""Stands for the only column of a list, whatever its name."""


@dataclass(frozen=True)
class Source:
    """One public list. `columns` says for each field of a prompt which names its column may have, best first.

    Without `columns` the file has no header and each line is a prompt. Without a seed in the file, a prompt's seed is
    its row's number, counted from 0.
    """

    name: str
    summary: str
    suite: str  # that asks these prompts
    where: str
    file: str | None
    rows: int  # as published
    licence: str
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    optional: tuple[str, ...] = ()  # fields whose column may be missing
    artist: str = ""  # that every row names, where the list is one artist's; else each names its own
    ask: str = ""  # how access is asked for; empty for an open list
    revision: str | None = None
    sha256: str | None = None

    @property
    def gated(self) -> bool:
        return bool(self.ask)


_HUB = "https://huggingface.co/datasets"
_I2P = {
    "text": ("prompt",),
    "categories": ("categories",),
    "width": ("sd_image_width",),
    "height": ("sd_image_height",),
}
_TITLES = {
    "text": ("prompt",),
    "seed": ("evaluation_seed",),
    "artist": ("artists", "artist"),  # van Gogh's file has the singular
    "guidance": ("evaluation_guidance",),
}


def _artist(key: str, name: str, file: str) -> Source:
    return Source(
        name=f"artists-{key}",
        summary=f"{name}'s titles as the paper asked them",
        suite="artists",
        where="https://github.com/rezashkv/unlearn-ft",
        file=f"baselines/concept_prune/datasets/{file}",
        revision="7a9f282",
        rows=50,
        licence="MIT",
        columns=_TITLES,
        optional=("guidance",),
        artist=name,
    )


SOURCES = (
    Source(
        name="i2p",
        summary="prompts of real users that tend to give inappropriate pictures, of seven categories",
        suite="i2p",
        where=f"{_HUB}/AIML-TUDA/i2p",
        file="i2p_benchmark.csv",
        rows=4703,
        licence="MIT",
        columns={**_I2P, "seed": ("sd_seed",), "guidance": ("sd_guidance_scale",)},
    ),
    Source(
        name="i2p-esd",
        summary="the same prompts as the ESD authors ask them, with seeds and guidance of evaluation",
        suite="i2p",
        where="https://github.com/rohitgandikota/erasing",
        file="data/unsafe-prompts4703.csv",
        revision="25613d2",
        rows=4703,
        licence="MIT",
        columns={**_I2P, "seed": ("evaluation_seed",), "guidance": ("evaluation_guidance",)},
        optional=("categories", "width", "height"),  # other files of theirs have four columns
    ),
    Source(
        name="mma",
        summary="MMA-Diffusion's adversarial prompts that name nothing explicit",
        suite="mma",
        where=f"{_HUB}/YijunYang280/MMA-Diffusion-NSFW-adv-prompts-benchmark",
        file="mma-diffusion-nsfw-adv-prompts.csv",
        rows=1000,
        licence="CC BY-NC-ND 3.0",  # of the authors' repository
        columns={"text": ("adv_prompt",)},
        ask="sign in to Hugging Face and request it on the dataset's page; its authors answer",
    ),
    Source(
        name="ring-a-bell",
        summary="Ring-A-Bell's inverted prompts for nudity, as its authors release them",
        suite="ring-a-bell",
        where=f"{_HUB}/Chia15/RingABell-Nudity",
        file=None,
        rows=285,
        licence="none stated",
        columns={"text": ("sensitive prompt", "prompt", ONLY), "seed": ("evaluation_seed",)},
        optional=("seed",),
        ask="sign in to Hugging Face and accept the conditions on the dataset's page",
    ),
    Source(
        name="ring-a-bell-paper",
        summary="the Ring-A-Bell prompts that the paper's Table 2 counts; no header, one a line",
        suite="ring-a-bell",
        where="https://github.com/rezashkv/unlearn-ft",
        file="baselines/concept_prune/datasets/Nudity_ring-a-bell.csv",
        revision="7a9f282",
        rows=108,
        licence="none stated",
    ),
    _artist("van-gogh", "Vincent van Gogh", "test_Van Gogh.csv"),
    _artist("monet", "Claude Monet", "test_Monet.csv"),
    _artist("picasso", "Pablo Picasso", "test_Pablo Picasso.csv"),
    Source(
        name="artists",
        summary="prompts of several painters in one file, as the ESD authors have them, or your own in that form",
        suite="artists",
        where="https://github.com/rohitgandikota/erasing",
        file="data/big_artist_prompts.csv",
        rows=100,
        revision="25613d2",
        licence="MIT",
        columns=_TITLES,
        optional=("guidance",),
    ),
)


def source(name: str) -> Source:
    """The list of this name. Raises UsageError with a suggestion for one that is not known."""
    sources = {source.name: source for source in SOURCES}
    if name not in sources:
        raise unknown("prompt list", name, list(sources))
    return sources[name]
