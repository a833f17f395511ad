"""Cartoon monsters: drawn, captioned, and read back."""

from .attributes import ATTRIBUTES, Attributes, free_attributes, from_labels, sample_attributes
from .captions import VOCABULARY, caption, parse_prompt, sample_mention
from .dataset import make_dataset
from .drawing import draw

__all__ = [
    "ATTRIBUTES",
    "VOCABULARY",
    "Attributes",
    "caption",
    "draw",
    "free_attributes",
    "from_labels",
    "make_dataset",
    "parse_prompt",
    "sample_attributes",
    "sample_mention",
]
