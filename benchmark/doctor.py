"""Checks for `bench doctor` that this machine has everything that a testbed needs, with a remedy for what is missing.

No large libraries are imported, and the network is used only on request.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmark.api.testbed import TEXT_TOWER
from benchmark.console import duration
from benchmark.errors import DataError, PalimpsestError
from benchmark.hardware import cpu, cuda_of_torch, gpus
from benchmark.store import paths
from benchmark.suites import prompt_lists
from benchmark.testbeds import resolve

if TYPE_CHECKING:
    from benchmark.console import Progress
    from benchmark.testbeds.stable_diffusion.definition import Definition


PYTHON = (3, 11)
REACHED = 0.5
"""Share of a CPU's peak rate that training is assumed to reach, as in `bench estimate`."""


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        state: "there" is available; "without" is missing, which costs only some suites or speed; "lacking" is missing,
            and the testbed cannot run.
        subject: what was checked.
        message: what was found, and a remedy if it is missing.
    """

    state: Literal["there", "without", "lacking"]
    subject: str
    message: str


def examine(
    testbed: str, home: Path, ask: bool, needed: float | None = None, progress: Progress | None = None
) -> Iterator[Finding]:
    """Yield all findings.

    Args:
        testbed: name of a testbed, or path of its file.
        home: the runs folder.
        ask: whether to query the Hub too.
        needed: bytes that a run writes; None if unknown.
        progress: shows the progress of checking pictures, which takes minutes for many pictures.

    Raises:
        UsageError, DataError: if the testbed does not exist, or its file is invalid.
    """
    definition = resolve.definition_of(testbed)
    yield _python()
    yield _torch()
    yield _gpu(definition.flops if definition is not None else None)
    yield _disk(home, needed)
    if definition is not None:
        yield _hub(definition, ask)
        yield from _parts(definition, home, progress)
    yield _nudenet()
    yield from _lists(home, resolve.public_lists(testbed))


def _python() -> Finding:
    version_text = platform.python_version()
    if sys.version_info[:2] < PYTHON:
        return Finding("lacking", "Python", f"{version_text}: install {PYTHON[0]}.{PYTHON[1]} or newer")
    return Finding("there", "Python", version_text)


def _torch() -> Finding:
    """Check that torch and torchvision fit together: torchvision cannot be imported with a different torch version
    from the one it was built for."""
    from packaging.requirements import Requirement
    from packaging.version import Version

    try:
        torch, vision = version("torch"), version("torchvision")
    except PackageNotFoundError as error:
        return Finding("lacking", "torch", f"{error.name} is not installed: run `uv sync`")
    versions = f"{torch} with torchvision {vision}"
    for line in requires("torchvision") or ():
        wanted = Requirement(line)
        if wanted.name == "torch" and not wanted.specifier.contains(Version(torch).public, prereleases=True):
            remedy = "install both from one index, as `uv sync` does"
            return Finding("lacking", "torch", f"{versions}, which needs torch {wanted.specifier}: {remedy}")
    if Version(torch).local != Version(vision).local:
        return Finding("lacking", "torch", f"{versions}: their builds differ, install both from one index")
    return Finding("there", "torch", versions)


def _gpu(flops: float | None) -> Finding:
    """Check for a GPU. `flops` is the default budget of a testbed that needs one; None for a testbed that does not."""
    names = gpus()
    has_cuda = cuda_of_torch()
    if names and has_cuda:
        return Finding("there", "GPU", ", ".join(names))
    if names:
        return Finding(
            "without", "GPU", f"{', '.join(names)}, but torch is built without CUDA: install torch with CUDA"
        )
    if flops is None:
        return Finding("there", "GPU", "none")
    this_cpu = cpu()
    hours = flops / (this_cpu.fp32 * 1e12 * REACHED) / 3600
    span = f"{hours / 24:,.0f} days" if hours >= 48 else duration(3600 * hours)
    return Finding(
        "without", "GPU", f"none: the default budget of {flops:.2g} FLOPs takes about {span} on {this_cpu.name}"
    )


def _disk(home: Path, needed: float | None) -> Finding:
    existing_folder = next(folder for folder in (home.absolute(), *home.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(existing_folder).free
    message = f"{paths.size(free)} free for {home}"
    if needed is None:
        return Finding("there", "disk", message)
    message += f", a run without stored results writes {paths.size(round(needed))}"
    if free < needed and (home / "artefacts").exists():  # a run writes only what the store lacks
        return Finding("without", "disk", f"{message}: results stored in {home} are not written again")
    if free < needed:
        return Finding(
            "lacking", "disk", f"{message}: free some space or set PALIMPSEST_HOME to a folder on a different disk"
        )
    return Finding("there", "disk", message)


def _hub(definition: Definition, ask: bool) -> Finding:
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        return Finding("there", "Hub", "not queried: HF_HUB_OFFLINE is set, so only local files are used")
    if not ask:
        return Finding("there", "Hub", "not queried; use --online to query it")
    names = [
        name for name in (*definition.model, definition.networks.clip, definition.networks.style) if _is_hub_id(name)
    ]
    wrong = []
    for name in names:
        try:
            HfApi().model_info(name, timeout=5)
        except Exception as error:  # the Hub's client raises its own errors and those of its network library
            wrong.append(f"{name} ({type(error).__name__})")
    if wrong:
        return Finding("without", "Hub", f"does not provide {', '.join(wrong)}: use a mirror or your own copy")
    return Finding("there", "Hub", f"provides {', '.join(names)}" if names else "not needed")


def _is_hub_id(name: str) -> bool:
    return not Path(name).is_absolute() and not name.startswith("https://")


def _parts(definition: Definition, home: Path, progress: Progress | None) -> Iterator[Finding]:
    """Check the model, the networks, the captioned pictures and the experts."""
    from benchmark.testbeds.stable_diffusion import find
    from benchmark.testbeds.stable_diffusion.artists import artists
    from benchmark.testbeds.stable_diffusion.definition import experts_file

    def checked(subject: str, check: object, *arguments: object) -> Finding:
        try:
            return Finding("there", subject, str(check(*arguments)))  # type: ignore[operator]
        except DataError as error:
            return Finding("lacking", subject, str(error))

    yield checked("model", _model, definition)
    for job in find.NETWORKS:
        yield checked(job, find.network, definition.networks.by_job[job], job, False)
    for side in ("train", "val"):
        yield checked(f"{side} captions", _check_captions, definition.captions, side, home, progress)
    yield _sentences(definition.sentences)
    if definition.experts:
        yield checked("experts", experts_file, definition.experts)
    yield checked("painters", lambda titles: f"{len(artists(titles))} in {titles}", definition.artists)


def _model(definition: Definition) -> str:
    """Return the model's folder; raise DataError if it is incomplete, does not match [sha256], or the settings do not
    fit it."""
    from benchmark.testbeds.stable_diffusion import find, model_settings

    folder = find.model(definition.model, False)
    find.check_expected(folder, definition.sha256)
    model_settings.check(definition, folder)
    return str(folder)


def _check_captions(folder: Path, side: Literal["train", "val"], home: Path, progress: Progress | None) -> str:
    """Describe the captioned pictures of one side. Val pictures are also decoded, unless that was done before.

    Raises DataError for captions that a run would refuse, and for pictures that are missing or empty.
    """
    from benchmark.store import contents
    from benchmark.testbeds.stable_diffusion import picture_files
    from benchmark.testbeds.stable_diffusion.captions import annotation_file, read_split

    split = read_split(folder, side)
    if side == "train":
        picture_files.refuse(contents.sizes(split.files), len(split.files), side)
    else:
        picture_files.checksums(home, split.files, side, progress, keep=os.access(home, os.W_OK))
    return f"{len(split.captions):,} for {len(split.files):,} pictures in {annotation_file(folder, side)}"


def _sentences(name: str) -> Finding:
    """Check the sentence encoder, which only the router of pruning `aptp` uses."""
    from huggingface_hub import try_to_load_from_cache

    without = 'write sentences = "text tower" into your own testbed file to run --pruning aptp without it'
    if name == TEXT_TOWER:
        return Finding("there", "sentences", "encoded by the model's text encoder")
    if not find_spec("sentence_transformers"):
        return Finding("without", "sentences", f"{name} needs the extra `aptp`: install it, or {without}")
    if Path(name).is_absolute():
        is_here = Path(name).is_dir()
    else:
        is_here = isinstance(try_to_load_from_cache(name, "modules.json"), str)
    remedy = f"is not available: download it on a machine with internet access, or {without}"
    return Finding("there", "sentences", name) if is_here else Finding("without", "sentences", f"{name} {remedy}")


def _nudenet() -> Finding:
    try:
        return Finding("there", "detector", f"nudenet {version('nudenet')}")
    except PackageNotFoundError:
        return Finding("lacking", "detector", "nudenet is not installed: run `uv sync`")


def _lists(home: Path, names: Sequence[str]) -> Iterator[Finding]:
    """Check the public lists that the testbed's suites use."""
    for name in names:
        try:
            prompt_list = prompt_lists.find(home, name)
        except PalimpsestError as error:
            yield Finding("without", f"list {name}", str(error))
        else:
            yield Finding(
                "there", f"list {name}", f"{len(prompt_list.rows)} prompts, sha256 {prompt_list.sha256[:12]}…"
            )
