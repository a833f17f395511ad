"""What a monster is made of: nine attributes, each a small integer that indexes its labels in ATTRIBUTES."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields

import numpy as np

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "body": ("round", "tall", "square", "fluffy"),
    "colour": ("red", "yellow", "green", "blue", "purple", "pink"),
    "eyes": ("one", "two", "three"),
    "eye_size": ("small", "big"),
    "mouth": ("frown", "flat", "smile", "teeth"),
    "horns": ("none", "one", "two"),
    "spots": ("plain", "spotted"),
    "position": ("left", "middle", "right"),
    "background": ("night", "meadow", "sunset", "sea", "snow"),
}
"""Attribute name -> labels. Every attribute value in this package is an index into these labels."""


@dataclass(frozen=True)
class Attributes:
    """One monster; each field indexes ATTRIBUTES[field name]. Raises ValueError on an index without a label."""

    body: int
    colour: int
    eyes: int
    eye_size: int
    mouth: int
    horns: int
    spots: int
    position: int
    background: int

    def __post_init__(self) -> None:
        for field in fields(self):
            value, labels = getattr(self, field.name), ATTRIBUTES[field.name]
            if not 0 <= value < len(labels):
                raise ValueError(f"attribute {field.name} is {value}, but must index one of {labels}")

    def label(self, name: str) -> str:
        """The word for one attribute, e.g. label("colour") -> "green"."""
        return ATTRIBUTES[name][getattr(self, name)]

    def as_array(self) -> np.ndarray:
        """int64 [9] in the order of ATTRIBUTES."""
        return np.array(astuple(self), dtype=np.int64)


def from_labels(labels: Mapping[str, str]) -> dict[str, int]:
    """Attribute name -> index from attribute name -> label. Raises ValueError for what does not exist."""
    found: dict[str, int] = {}
    for name, label in labels.items():
        if name not in ATTRIBUTES:
            raise ValueError(f"attribute {name!r} does not exist, choose from {tuple(ATTRIBUTES)}")
        if label not in ATTRIBUTES[name]:
            raise ValueError(f"attribute {name} cannot be {label!r}, choose from {ATTRIBUTES[name]}")
        found[name] = ATTRIBUTES[name].index(label)
    return found


def sample_attributes(rng: np.random.Generator, fixed: Mapping[str, int] | None = None) -> Attributes:
    """A monster with every attribute drawn uniformly and independently, except those in `fixed` (name -> index)."""
    fixed = fixed or {}
    unknown = sorted(set(fixed) - set(ATTRIBUTES))
    if unknown:
        raise ValueError(f"attributes {unknown} do not exist, choose from {tuple(ATTRIBUTES)}")
    drawn = {name: int(rng.integers(len(labels))) for name, labels in ATTRIBUTES.items()}
    return Attributes(**{**drawn, **fixed})


def free_attributes(required: Mapping[str, int]) -> dict[str, int]:
    """Attributes that `required` leaves open, with their number of labels."""
    return {name: len(labels) for name, labels in ATTRIBUTES.items() if name not in required}
