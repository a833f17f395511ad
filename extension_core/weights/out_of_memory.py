"""Out of memory, as torch and its backends say it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

import torch

from extension_core.errors import DiversityError, NotEnoughMemory, first_line

# Only the accelerators' error has a type of its own, under this name from torch 2.1 on; the others are RuntimeErrors.
_SAID = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")
MAY_BE = (MemoryError, RuntimeError)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice, on whichever device."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error).lower() for said in _SAID)


@contextmanager
def memory_for(
    sentence: Callable[[str], str], kind: type[DiversityError] = NotEnoughMemory
) -> Generator[None, None, None]:
    """While something is made that may not fit.

    Args:
        sentence: of the error, made of what torch says of it.

    Raises:
        DiversityError: of this kind, where memory did not suffice.
    """
    try:
        yield
    except MAY_BE as error:
        if not is_out_of_memory(error):
            raise
        raise kind(sentence(first_line(error))) from error
