"""Out of memory, as torch and its backends say it."""

from __future__ import annotations

import torch

# Only the accelerators' error has a type of its own, under this name from torch 2.1 on; the others are RuntimeErrors.
_SAID = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")
MAY_BE = (MemoryError, RuntimeError)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice, on whichever device."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error).lower() for said in _SAID)
