"""Everything palimpsest refuses, in one tree.

    PalimpsestError            exit code 2; the message is one sentence: what, where, what to do
    ├── UsageError             a wrong name, option or combination
    ├── DataError              a file that is missing, damaged or of the wrong form
    ├── StoreError             a folder that cannot be written, a full disk
    ├── RecordError            a newer schema, mixed samplers
    ├── BudgetError            a budget that cannot be met
    ├── TrainingError          NaN in weights or loss; names phase and iteration
    └── SamplingError          latents or pictures that are not finite; names the model

A leaf: it imports nothing, and all four packages may import it.
"""


class PalimpsestError(Exception):
    """Base of all errors meant for the user: shown without a traceback, the process ends with `exit_code`."""

    exit_code = 2


class UsageError(PalimpsestError):
    """What was asked for does not exist or does not fit together."""


class DataError(PalimpsestError):
    """A file that should be read is missing, damaged or of the wrong form."""


class StoreError(PalimpsestError):
    """A folder cannot be written or the disk is full."""


class RecordError(PalimpsestError):
    """A record cannot be read, or must not be compared with its neighbours."""


class BudgetError(PalimpsestError):
    """A budget that the method or pruning cannot meet."""


class TrainingError(PalimpsestError):
    """Training went wrong; the last good checkpoint is kept."""


class SamplingError(PalimpsestError):
    """A model samples what is no picture; pictures made before are kept."""
