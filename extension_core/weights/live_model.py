"""The loaded checkpoint's model as files are compared with it; whether one may take turns with it, and what is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from extension_core.weights import compatibility
from extension_core.weights.compatibility import Shapes
from extension_core.weights.file_facts import Facts, facts_of_loaded
from extension_core.weights.kinds_of_file import config_beside
from extension_core.weights.layouts import canonical_unet_keys, check_named_once
from extension_core.weights.lora_checks import check_lora, prediction_note
from extension_core.weights.lora_file import is_lora, read_lora, uses_text_encoder
from extension_core.weights.naming import file_keys
from extension_core.weights.reader import Header, read_header


@dataclass(frozen=True)
class LiveModel:
    """Shapes and prediction of the model that the host has loaded.

    Attributes:
        unet: shapes of the U-Net's parameters by their names in checkpoint files.
        prediction: "eps" or "v".
        text: makes the same of the text encoder, or encoders; they are looked at where a file has its own.
        text_of_file: brings a file's shapes to the names of `text`.
        text_is_overridden: whether the user has put another file's text encoder in the place of any checkpoint's.
    """

    unet: Shapes
    prediction: str
    text: Callable[[], Shapes]
    text_of_file: Callable[[Shapes], Shapes] = lambda shapes: shapes
    text_is_overridden: bool = False

    @property
    def facts(self) -> Facts:
        """What it is, in the words in which files are told."""
        return facts_of_loaded(self.unet, self.prediction)

    def check_file(self, path: Path, text_encoder: str) -> bool:
        """Check a second model's header; says whether its own text encoder may be used.

        Args:
            text_encoder: the option of that name.

        Raises:
            DiversityError: the file cannot take turns with the loaded checkpoint; the sentence says why.
        """
        header = read_header(path)
        if is_lora(header.shapes):
            lora = read_lora(header, self.unet)
            check_lora(lora, self.unet)
            return uses_text_encoder(lora, text_encoder)
        check_named_once(path.name, canonical_unet_keys(header.shapes, self.unet))
        shapes = self._canonical(header)
        compatibility.check_unet(path.name, shapes, self.unet)
        stated = compatibility.prediction_type(header.metadata, shapes, config_beside(path))
        compatibility.check_prediction(path.name, stated, self.prediction)
        if text_encoder == "auto" and self.text_is_overridden:
            return False
        own, live = self.text_of_file(shapes), self.text()
        return compatibility.check_text_encoder(path.name, text_encoder, own, live)

    def file_notes(self, path: Path) -> tuple[str, ...]:
        """What the user should know of a second model's file that may be used."""
        header = read_header(path)
        if is_lora(header.shapes):
            return prediction_note(header, self.prediction)
        return compatibility.extra_tensors_note(path.name, self._canonical(header), self.unet)

    def _canonical(self, header: Header) -> dict[str, tuple[int, ...]]:
        """A file's shapes by the names that `unet` has, and the text encoder's beside them."""
        return {name: header.shapes[key] for name, key in file_keys(list(header.shapes), list(self.unet)).items()}
