"""Reads embeddings of new words (textual inversion) and adds them to a text encoder and its tokenizer.

    diffusers   {"<word>": vectors}, in .safetensors, .bin or .pt; several words are possible
    A1111       {"string_to_param": {"*": vectors}, "name": word}, in .pt or .bin
    A1111       {"emb_params": vectors} in .safetensors; the word is the file's name without its suffix

An embedding has one vector (D) or several (K, D), where D is the width of the text encoder. A prompt uses it where it
contains the word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import DataError, UsageError
from benchmark.models.part_files import first_line

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".safetensors", ".bin", ".pt")
UNNAMED = "emb_params"
"""Key of A1111's safetensors files, which do not contain the word."""
SDXL = ("clip_g", "clip_l")
"""Keys of files for the two text encoders of SDXL."""


@dataclass(frozen=True)
class Embedding:
    """The vectors (K, D) of one new word, in fp32, and the file that they are from."""

    word: str
    vectors: Tensor
    file: Path

    @property
    def checksum(self) -> str:
        """sha256 of the word and the vectors, independent of the file's format."""
        digest = hashlib.sha256(f"{self.word}\0{tuple(self.vectors.shape)}\0".encode())
        digest.update(self.vectors.contiguous().numpy().tobytes())
        return digest.hexdigest()


def read_embeddings(files: Sequence[Path]) -> list[Embedding]:
    """Read the embeddings of all files.

    Raises:
        UsageError: if a file does not exist, or two files have the same word.
        DataError: if a file is damaged or of a different format, or its values are NaN or infinite.
    """
    embeddings = [embedding for file in files for embedding in _read(file)]
    for k, embedding in enumerate(embeddings):
        if embedding.word in [earlier.word for earlier in embeddings[:k]]:
            raise UsageError(f"--embedding gives the word '{embedding.word}' twice: leave out one of the files.")
    return embeddings


def add_embeddings(embeddings: Sequence[Embedding], text_encoder: Any, tokenizer: Any) -> None:
    """Add words and their vectors to a tokenizer and a text encoder, in place, as diffusers does.

    Raises:
        DataError: if an embedding does not fit the text encoder, or its word exists already.
    """
    import torch
    import transformers
    from diffusers import StableDiffusionPipeline

    for embedding in embeddings:
        _check(embedding, text_encoder, tokenizer)
        pipeline: Any = StableDiffusionPipeline(
            vae=None, unet=None, scheduler=None, safety_checker=None, feature_extractor=None,
            text_encoder=text_encoder, tokenizer=tokenizer, requires_safety_checker=False,
        )  # type: ignore[arg-type]  # fmt: skip
        verbosity = transformers.utils.logging.get_verbosity()
        transformers.utils.logging.set_verbosity_error()  # it explains how new rows begin, which are replaced here
        try:
            with torch.random.fork_rng(devices=[]):  # transformers draws the new rows at random first
                pipeline.load_textual_inversion({embedding.word: embedding.vectors})
        finally:
            transformers.utils.logging.set_verbosity(verbosity)
        if embedding.word not in tokenizer.tokenize(f"a {embedding.word}"):
            raise DataError(
                f"The embedding {embedding.file} has the word '{embedding.word}', which the tokenizer does not find in "
                "prompts: rename the word in the file."
            )
    text_encoder.eval().requires_grad_(False)


def _check(embedding: Embedding, text_encoder: Any, tokenizer: Any) -> None:
    """Raise DataError if an embedding does not fit a text encoder and a tokenizer."""
    what, word = f"The embedding {embedding.file}", embedding.word
    count, width = embedding.vectors.shape
    needed, room = text_encoder.config.hidden_size, text_encoder.config.max_position_embeddings - 2
    if width != needed:
        raise DataError(
            f"{what} has vectors of width {width}, and the text encoder needs {needed}: it was trained for a different "
            "base model; choose the testbed of that model."
        )
    if count > room:
        raise DataError(f"{what} has {count} vectors, and a prompt holds at most {room}: give one with fewer vectors.")
    words = [word, f"{word}</w>", *(f"{word}_{k}" for k in range(1, count + 1))]
    if taken := [name for name in words if name in tokenizer.get_vocab()]:
        raise DataError(
            f"{what} has the word '{word}', and the tokenizer already has '{taken[0].removesuffix('</w>')}': rename "
            "the word in the file."
        )


def _read(file: Path) -> list[Embedding]:
    import torch

    content = _load(file)
    params: Any = content.get("string_to_param")
    if isinstance(params, torch.nn.ParameterDict):
        params = dict(params.items())
    if UNNAMED in content:
        vectors_by_word = {file.stem: content[UNNAMED]}
    elif isinstance(params, Mapping):
        name = content.get("name")
        vectors_by_word = {str(name or file.stem): params[key] for key in params if key == "*" or len(params) == 1}
    elif set(content) & set(SDXL):
        raise DataError(f"The embedding {file} is for the two text encoders of SDXL: give one for Stable Diffusion.")
    else:
        vectors_by_word = dict(content)
    odd = [word for word, vectors in vectors_by_word.items() if not isinstance(vectors, torch.Tensor)]
    if odd or not vectors_by_word:
        raise DataError(
            f"The embedding {file} is in no known format: it must map words to vectors, as diffusers saves them, or "
            "have 'string_to_param' or 'emb_params', as A1111 saves them."
        )
    return [_embedding(str(word), vectors, file) for word, vectors in vectors_by_word.items()]


def _embedding(word: str, vectors: Tensor, file: Path) -> Embedding:
    what = f"The embedding {file}"
    if not word.strip() or word != word.strip() or not word.isprintable() or " " in word:
        raise DataError(f"{what} has the word {word[:40]!r}: it must have no spaces or control characters; rename it.")
    if vectors.ndim not in (1, 2) or not vectors.numel() or not vectors.is_floating_point():
        raise DataError(
            f"{what} has a tensor of shape {tuple(vectors.shape)} and type {vectors.dtype} for '{word}': it must be "
            "one vector, or a list of vectors, of floating-point numbers."
        )
    if not vectors.isfinite().all():
        raise DataError(f"{what} has values that are NaN or infinite for '{word}': download it again.")
    return Embedding(word, vectors.detach().float().reshape(-1, vectors.shape[-1]).cpu().clone(), file)


def _load(file: Path) -> Mapping[str, Any]:
    """Return the content of a file, which is read without running code from it."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from metrics.networks.untrusted import load_tensors
    from metrics.networks.weights import check_is_itself

    if not file.is_file():
        raise UsageError(f"--embedding {file} is not a file: give the path of a downloaded file.")
    if file.suffix not in SUFFIXES:
        raise DataError(f"The embedding {file} is not a file of type {', '.join(SUFFIXES)}.")
    check_is_itself(file)
    try:
        if file.suffix == ".safetensors":
            content: object = load_file(file)
        else:
            content = load_tensors(file, lists_of_parameters=True)
    except DataError:
        raise
    except (OSError, SafetensorError, ValueError, EOFError, RuntimeError) as error:
        raise DataError(
            f"The embedding {file} cannot be read ({first_line(error).rstrip('.:')}): download it again."
        ) from error
    except Exception as error:  # errors of pickle, whose module is not imported here
        raise DataError(
            f"The embedding {file} contains other objects than tensors, which are not unpickled for security: save it "
            "as safetensors."
        ) from error
    return dict(content) if isinstance(content, Mapping) else {}
