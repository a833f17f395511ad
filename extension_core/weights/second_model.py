"""The distilled model of a host's model: a second set for its U-Net and, if it differs, its text encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from extension_core.errors import DiversityError
from extension_core.weights import parameter_set
from extension_core.weights.carry import carrying
from extension_core.weights.cond_caches import CondCaches
from extension_core.weights.naming import NamedParameter, file_keys
from extension_core.weights.out_of_memory import MAY_BE, is_out_of_memory
from extension_core.weights.parameter_set import ParameterSet
from extension_core.weights.reader import TensorSource, open_tensors
from extension_core.weights.wanted import Carry


@dataclass
class SecondModel:
    """A resident distilled model.

    Attributes:
        unet: its U-Net as the second set of the host model's.
        text: its text encoder likewise, None if the base's conditioning serves.
        cond_caches: the host's prompt caches for `text`.
        notes: what the user should know of it, beside every image.
    """

    unet: ParameterSet
    text: ParameterSet | None
    cond_caches: CondCaches = field(default_factory=CondCaches)
    notes: tuple[str, ...] = ()

    @property
    def bytes_held(self) -> int:
        """Bytes that this model adds to the host's."""
        return self.unet.bytes_held + (self.text.bytes_held if self.text else 0)

    def keep_networks_apart(self, text: Sequence[NamedParameter]) -> None:
        """Let the distilled model have other networks than the base, also in `text`, the host's text encoders."""
        if self.text is None:
            self.text = parameter_set.build(text, lambda _name: None)
        for part in (self.unet, self.text):
            part.keep_networks_apart()

    def restore(self) -> None:
        """Give the host's model its own weights back; safe to call at any time."""
        self.unet.activate(False)
        if self.text is not None:
            self.text.activate(False)

    def release(self) -> None:
        """Restore and free; it cannot be used after."""
        self.restore()
        self.unet.clear()
        if self.text is not None:
            self.text.clear()
        self.cond_caches.clear()

    @contextmanager
    def own_text_encoder(self) -> Iterator[None]:
        """Run the host's text encoder with the distilled model's weights."""
        if self.text is None:
            yield
            return
        self.text.activate(True)
        try:
            yield
        finally:
            self.text.activate(False)


def load_second_model(
    path: Path, unet: Sequence[NamedParameter], text: Sequence[NamedParameter], carry: Carry | None = None
) -> SecondModel:
    """Read a file's U-Net, and text encoder where `text` is not empty, as second sets; equal tensors are shared.

    The file may have its U-Net in any of the known layouts; `carry` adds what the live model has learnt since its
    origin.

    Raises:
        DiversityError: the file cannot be read, or memory does not suffice.
    """
    names = [named.name for named in unet]
    with ExitStack() as stack:
        value = _loader(stack.enter_context(open_tensors(path)), names)
        if carry is not None:
            live = {named.name: named for named in (*unet, *text)}
            origin = _loader(stack.enter_context(open_tensors(carry.origin)), names)
            value = carrying(value, lambda name: live[name].clean, origin, carry.strength)
        return build_second_model(path.name, unet, text, value)


def build_second_model(
    name: str,
    unet: Sequence[NamedParameter],
    text: Sequence[NamedParameter],
    value: Callable[[str], torch.Tensor | None],
) -> SecondModel:
    """The second sets whose values `value` gives by canonical name, None where both models share one.

    The host's model is not touched. A text encoder equal to the host's costs nothing and gives `text=None`.

    Raises:
        DiversityError: memory does not suffice.
    """
    try:
        with torch.no_grad():
            unet_set = parameter_set.build(unet, value)
            text_set = parameter_set.build(text, value)
    except MAY_BE as error:
        if not is_out_of_memory(error):
            raise
        raise DiversityError(
            f"There is not enough memory for the distilled model '{name}' beside the loaded checkpoint ({error}); "
            "close other programs or choose a smaller model."
        ) from error
    return SecondModel(unet_set, text_set if len(text_set) else None)


def _loader(source: TensorSource, unet_names: Sequence[str]) -> Callable[[str], torch.Tensor | None]:
    keys = file_keys(list(source.keys()), unet_names)

    def load(name: str) -> torch.Tensor | None:
        return source.get(keys[name]) if name in keys else None

    return load
