"""Which distilled model a request wants: its file, and what is done with it before it can run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extension_core.weights.reader import Header, read_header


@dataclass(frozen=True)
class Carry:
    """What the loaded checkpoint learnt since its origin, to be added to the distilled model.

    distilled + strength * (loaded - origin), for checkpoints that were fine-tuned as a whole: the paper's control
    distillation (its Table 1) without a LoRA.
    """

    origin: Path
    strength: float


@dataclass(frozen=True)
class Wanted:
    """A distilled model.

    Attributes:
        own_text_encoder: whether the file's text encoder is to be used where it differs from the host's.
        lora_strength: counts for LoRAs alone.
    """

    path: Path
    own_text_encoder: bool
    lora_strength: float = 1.0
    carry: Carry | None = None

    @property
    def header(self) -> Header:
        """What the file says before its tensors are read."""
        return read_header(self.path)

    def key(self, is_lora: bool) -> tuple[Any, ...]:
        """Equal for models that hold the same values beside the same base."""
        carried = (*_identity(self.carry.origin), self.carry.strength) if self.carry else None
        return (*_identity(self.path), self.own_text_encoder, self.lora_strength if is_lora else None, carried)


def _identity(path: Path) -> tuple[str, int, int]:
    stat = path.stat()
    return str(path), stat.st_mtime_ns, stat.st_size
