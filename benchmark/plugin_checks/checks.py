"""How checks are told: a line each. A plug-in's own errors are findings, not tracebacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch

from benchmark.errors import PalimpsestError


class Check(NamedTuple):
    """A line of the report. "untried" says why something could not be tried, and is no fault."""

    state: Literal["kept", "untried", "broken"]
    subject: str
    message: str


class Fault(Exception):
    """What a plug-in does against its contract."""


class Untried(Exception):
    """Why a check does not apply."""


def tried(subject: str, check: Callable[[], str]) -> Check:
    """The line of one check: what it returns if it passes, what it raises if not."""
    try:
        return Check("kept", subject, check())
    except Untried as reason:
        return Check("untried", subject, str(reason))
    except (Fault, PalimpsestError) as error:
        return Check("broken", subject, str(error))
    except Exception as error:  # of the plug-in's own code
        place = _innermost(error)
        return Check("broken", subject, f"{type(error).__name__}: {error}{place}")


def until_broken(*checks: tuple[str, Callable[[], str]]) -> Iterator[Check]:
    """The lines of checks in their order, up to the first that fails or does not apply: the later ones build on it."""
    for subject, check in checks:
        line = tried(subject, check)
        yield line
        if line.state != "kept":
            return


@contextmanager
def process_seeded(seed: int) -> Iterator[None]:
    """The process's own generator at a seed, and as it was afterwards. Plug-ins should not draw from it, so each try is
    given another one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def same_weights(left: torch.nn.Module, right: torch.nn.Module) -> bool:
    """Whether two networks are equal bit for bit."""
    ours, theirs = left.state_dict(), right.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def _innermost(error: BaseException) -> str:
    frames = []
    traceback = error.__traceback__
    while traceback is not None:
        frames.append((traceback.tb_frame.f_code.co_filename, traceback.tb_lineno))
        traceback = traceback.tb_next
    return f" ({frames[-1][0]}, line {frames[-1][1]})" if frames else ""
