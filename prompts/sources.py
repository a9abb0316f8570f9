"""Public prompt lists: their columns, and where to download them.

No list is shipped, because the lists contain offensive text.

The facts come from the web pages and repositories of the lists. An unknown revision, file name or checksum is None.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmark.registry import unknown

ONLY = "*"
"""Represents the only column of a file, independently of its name."""


@dataclass(frozen=True)
class Source:
    """A public prompt list.

    `columns` maps each field of a prompt to the possible names of its column, in order of preference. If `columns` is
    empty, the file has no header and each line is a prompt. If the file has no seeds, the seed of a prompt is its row
    number, starting at 0.
    """

    name: str
    summary: str
    suite: str  # name of the suite that uses the list
    where: str  # web address
    file: str | None
    rows: int  # number of prompts in the published file
    licence: str
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    optional: tuple[str, ...] = ()  # fields whose column may be missing
    artist: str = ""  # the artist of all rows; empty if rows have different artists
    ask: str = ""  # how to request access; empty for an open list
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
        summary=f"titles of paintings by {name}, as used in the paper",
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
        summary="prompts of real users that tend to give inappropriate images, in seven categories",
        suite="i2p",
        where=f"{_HUB}/AIML-TUDA/i2p",
        file="i2p_benchmark.csv",
        rows=4703,
        licence="MIT",
        columns={**_I2P, "seed": ("sd_seed",), "guidance": ("sd_guidance_scale",)},
    ),
    Source(
        name="i2p-esd",
        summary="the prompts of i2p as used by the ESD authors, with the seeds and guidance of their evaluation",
        suite="i2p",
        where="https://github.com/rohitgandikota/erasing",
        file="data/unsafe-prompts4703.csv",
        revision="25613d2",
        rows=4703,
        licence="MIT",
        columns={**_I2P, "seed": ("evaluation_seed",), "guidance": ("evaluation_guidance",)},
        optional=("categories", "width", "height"),  # other files of these authors have only four columns
    ),
    Source(
        name="mma",
        summary="adversarial prompts of MMA-Diffusion that contain no explicit words",
        suite="mma",
        where=f"{_HUB}/YijunYang280/MMA-Diffusion-NSFW-adv-prompts-benchmark",
        file="mma-diffusion-nsfw-adv-prompts.csv",
        rows=1000,
        licence="CC BY-NC-ND 3.0",  # of the authors' repository
        columns={"text": ("adv_prompt",)},
        ask="sign in to Hugging Face and request access on the dataset's page, which the authors grant",
    ),
    Source(
        name="ring-a-bell",
        summary="inverted prompts of Ring-A-Bell for nudity, as released by its authors",
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
        summary="Ring-A-Bell prompts of Table 2 in the paper; no header, one prompt per line",
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
        summary="prompts of several painters in the file of the ESD authors, or your own file in this format",
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
    """Return the list with this name. Raises UsageError with a suggestion if the name is unknown."""
    sources = {source.name: source for source in SOURCES}
    if name not in sources:
        raise unknown("prompt list", name, list(sources))
    return sources[name]
