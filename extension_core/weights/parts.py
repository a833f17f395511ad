"""Parts of a checkpoint beside its U-Net: whether a file has them, and whether two files have the same."""

from __future__ import annotations

import functools
import math
from contextlib import ExitStack
from pathlib import Path

import torch

from extension_core.errors import DiversityError
from extension_core.options.model_names import PICKLE_SUFFIXES
from extension_core.weights.naming import TEXT_PREFIXES
from extension_core.weights.reader import Header, open_tensors, read_header

_VAE_PREFIX = "first_stage_model."
# Norms and biases of all layers: training a VAE moves them all, and reading them is a matter of kilobytes.
_LONGEST_READ = 4096
# Published files are in half precision or were; the coarsest of those numbers has 8 bits of mantissa.
_ROUNDING = 1e-2


def has_text_encoder(header: Header) -> bool:
    """Whether a file holds a text encoder under the names of full checkpoints."""
    return any(key.startswith(TEXT_PREFIXES) for key in header.shapes)


def different_vae(one: Path, other: Path) -> bool:
    """Whether both files hold a VAE and they are not the same; False where that cannot be told without loading them."""
    if any(path.suffix.lower() in PICKLE_SUFFIXES for path in (one, other)):
        return False
    try:
        return _different(read_header(one), read_header(other))
    except DiversityError:
        return False


def _different(one: Header, other: Header) -> bool:
    return _compared((one.path, one.state), (other.path, other.state))


@functools.lru_cache(maxsize=32)
def _compared(one: tuple[Path, object], other: tuple[Path, object]) -> bool:
    """Compared once for every pair of files as they are."""
    headers = [read_header(path) for path, _ in (one, other)]
    shapes = [{key: shape for key, shape in each.shapes.items() if key.startswith(_VAE_PREFIX)} for each in headers]
    if not all(shapes):
        return False
    both = shapes[0].keys() & shapes[1].keys()
    if any(shapes[0][key] != shapes[1][key] for key in both):
        return True
    small = [key for key in sorted(both) if math.prod(shapes[0][key]) <= _LONGEST_READ]
    with ExitStack() as stack:
        sources = [stack.enter_context(open_tensors(header.path)) for header in headers]
        return any(not _alike(*(source.get(key) for source in sources)) for key in small)


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one.float(), other.float(), rtol=_ROUNDING, atol=_ROUNDING * float(one.float().abs().max()))
