"""Which distilled model a request wants: its file, and what is done with it before it can run."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extension_core.errors import DiversityError
from extension_core.weights.file_state import check_unchanged
from extension_core.weights.reader import Header, TensorSource, open_tensors


@dataclass(frozen=True)
class Style:
    """What the loaded checkpoint learnt since its origin, to be added to the distilled model.

    distilled + strength * (loaded - origin), for checkpoints that were fine-tuned as a whole: the paper's control
    distillation (its Table 1) without a LoRA.
    """

    origin: Header
    strength: float


@dataclass(frozen=True)
class Selection:
    """A distilled model, settled once for a request: what its files are later does not matter to those that are read.

    Attributes:
        header: what the file said of itself when the request was settled.
        own_text_encoder: whether the file's text encoder is to be used where it differs from the host's.
        lora_strength: counts for LoRAs alone.
        makes_base: whether it makes the base's steps beside a loaded distilled model.
    """

    header: Header
    own_text_encoder: bool
    lora_strength: float = 1.0
    style: Style | None = None
    makes_base: bool = False

    @property
    def path(self) -> Path:
        """The file."""
        return self.header.path

    def key(self, is_lora: bool) -> tuple[Any, ...]:
        """Equal for models that hold the same values beside the same base."""
        style_key = (*_identity(self.style.origin), self.style.strength) if self.style else None
        return (*_identity(self.header), self.own_text_encoder, self.lora_strength if is_lora else None, style_key)


def _identity(header: Header) -> tuple[Any, ...]:
    return str(header.path), header.state


@contextmanager
def as_origin() -> Generator[None, None, None]:
    """While the origin to carry from is looked for, checked and read, all of which is done as with distilled models.

    Raises:
        DiversityError: names the file by the part that it has.
    """
    try:
        yield
    except DiversityError as error:
        raise type(error)(str(error).replace("The distilled model", "The origin to carry from", 1)) from error


@contextmanager
def as_base() -> Generator[None, None, None]:
    """While a second model that makes the base's steps is checked and read, likewise.

    Raises:
        DiversityError: as above.
    """
    try:
        yield
    except DiversityError as error:
        raise type(error)(in_words_of_base(str(error))) from error


def in_words_of_base(sentence: str) -> str:
    """What is said of a distilled model, of a base."""
    return sentence.replace("he distilled model", "he base")


@contextmanager
def open_origin(style: Style) -> Generator[TensorSource, None, None]:
    """The origin's tensors.

    Raises:
        DiversityError: it cannot be read, or is not the file any more that the request was settled on.
    """
    path, state = style.origin.path, style.origin.state
    with as_origin():
        check_unchanged(path, state)
    with open_tensors(path) as source:
        yield source
    with as_origin():
        check_unchanged(path, state)
