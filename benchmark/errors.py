"""Defines the errors that are shown to the user.

    PalimpsestError            exit code 2; the message says in one sentence what is wrong, where, and what to do
    ├── UsageError             a wrong name, option or combination
    ├── DataError              a file that is missing, damaged or has the wrong format
    ├── StoreError             a folder that cannot be written, a full disk
    ├── RecordError            a newer schema, mixed samplers
    ├── BudgetError            a budget that cannot be met
    ├── TrainingError          NaN in weights or loss; names phase and iteration
    └── SamplingError          latents or pictures that are not finite; names the model

`Stopped` is no error: the process was told to end.

This module imports nothing, so that all four packages can import it.
"""

_CODES = (*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_ESCAPES = {code: chr(code).encode("unicode_escape").decode() for code in _CODES}
"""Characters by which a text can move the cursor, change colours, or change the direction of text on a terminal, and
how messages show them. Line breaks and tabs are not among them."""


def has_controls(text: str) -> bool:
    """Return whether a text contains characters that a terminal executes or that reverse its direction."""
    return text.translate(_ESCAPES) != text


def without_controls(text: str) -> str:
    r"""Return a text in which control characters are written as escapes, such as `\x1b`."""
    return text.translate(_ESCAPES)


class PalimpsestError(Exception):
    """Base class of errors for the user. They are shown without a traceback, and the process exits with `exit_code`.

    Messages quote names and files of other people, so control characters are shown as escapes.
    """

    exit_code = 2

    def __str__(self) -> str:
        return without_controls(super().__str__())


class UsageError(PalimpsestError):
    """A name, option or combination of options is not valid."""


class DataError(PalimpsestError):
    """A file is missing, damaged or has the wrong format."""


class StoreError(PalimpsestError):
    """A folder cannot be written or the disk is full."""


class RecordError(PalimpsestError):
    """A record cannot be read, or cannot be compared with the other records."""


class BudgetError(PalimpsestError):
    """A budget that the method or pruning cannot meet."""


class TrainingError(PalimpsestError):
    """Training failed; the last good checkpoint is retained."""


class SamplingError(PalimpsestError):
    """A model produces latents or pictures that are not finite; pictures sampled before are retained."""


class Stopped(KeyboardInterrupt):
    """The process received SIGTERM or SIGHUP. It ends like one that is interrupted by Ctrl-C.

    Args:
        number: the number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
