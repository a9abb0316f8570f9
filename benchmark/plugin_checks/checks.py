"""Results of checks, one line per check. Errors that a plug-in raises are results too, not tracebacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch

from benchmark.errors import PalimpsestError


class Check(NamedTuple):
    """The result of one check.

    State "kept" means passed, "broken" failed, and "untried" that the check does not apply, which is not a failure.
    """

    state: Literal["kept", "untried", "broken"]
    subject: str
    message: str


class Fault(Exception):
    """Raised by a check if the plug-in violates its contract."""


class Untried(Exception):
    """Raised by a check that does not apply; the message says why."""


def tried(subject: str, check: Callable[[], str]) -> Check:
    """Run one check and return its result, with the returned text if it passes, else with the error message."""
    try:
        return Check("kept", subject, check())
    except Untried as reason:
        return Check("untried", subject, str(reason))
    except (Fault, PalimpsestError) as error:
        return Check("broken", subject, str(error))
    except Exception as error:  # raised by the plug-in's own code
        place = _innermost_place(error)
        return Check("broken", subject, f"{type(error).__name__}: {error}{place}")


def until_broken(*checks: tuple[str, Callable[[], str]]) -> Iterator[Check]:
    """Run checks in order up to the first that fails or does not apply, because later checks depend on earlier ones."""
    for subject, check in checks:
        line = tried(subject, check)
        yield line
        if line.state != "kept":
            return


@contextmanager
def process_seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator, and restore its state afterwards.

    Plug-ins should not use this generator. Each call is seeded differently, so that a plug-in that uses it is detected.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def same_weights(left: torch.nn.Module, right: torch.nn.Module) -> bool:
    """Return whether the weights of two networks are equal bit for bit."""
    ours, theirs = left.state_dict(), right.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def _innermost_place(error: BaseException) -> str:
    frames = []
    traceback = error.__traceback__
    while traceback is not None:
        frames.append((traceback.tb_frame.f_code.co_filename, traceback.tb_lineno))
        traceback = traceback.tb_next
    return f" ({frames[-1][0]}, line {frames[-1][1]})" if frames else ""
