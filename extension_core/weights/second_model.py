"""The second model beside a host's: a second set for its U-Net and, if it differs, its text encoder."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field

import torch

from extension_core.weights import parameter_set
from extension_core.weights.cond_caches import CondCaches
from extension_core.weights.eight_bit import EightBit, Merge
from extension_core.weights.naming import NamedParameter, file_keys
from extension_core.weights.out_of_memory import memory_for
from extension_core.weights.parameter_set import ParameterSet
from extension_core.weights.placement import Placement
from extension_core.weights.reader import Header, TensorSource, open_tensors
from extension_core.weights.selection import Style, open_origin
from extension_core.weights.style import carrying
from extension_core.weights.transfer import Copies


def _no_networks(_module: torch.nn.Module) -> None:
    pass


@dataclass
class SecondModel:
    """A resident second model: the distilled one, or the base beside a distilled model that is loaded.

    Attributes:
        unet: its U-Net as the second set of the host model's.
        text: its text encoder likewise, None if the host's conditioning serves.
        cond_caches: the host's prompt caches for `text`.
        notes: what the user should know of it, beside every image.
        base: the base's U-Net values in 8 bits, if its steps are to be computed from them.
        makes_base: whether `base` is of this model, and not of the host's.
        ran_out: memory has run out with both models where the host computes.
        closing: what ends with this model.
    """

    unet: ParameterSet
    text: ParameterSet | None
    cond_caches: CondCaches = field(default_factory=CondCaches)
    notes: tuple[str, ...] = ()
    base: EightBit | None = None
    makes_base: bool = False
    ran_out: bool = False
    closing: ExitStack = field(default_factory=ExitStack)

    @property
    def bytes_held(self) -> int:
        """Bytes that this model adds to the host's, wherever they are."""
        return sum(part.bytes_held for part in self._parts) + (self.base.bytes_held if self.base else 0)

    def bytes_missing_on(self, device: torch.device) -> int:
        """Bytes of it that are not on a device yet."""
        return sum(part.bytes_missing_on(device) for part in self._parts)

    @property
    def _parts(self) -> list[ParameterSet]:
        return [self.unet, self.text] if self.text is not None else [self.unet]

    def place(
        self,
        placement: Placement,
        copies: Copies,
        unet: Sequence[NamedParameter] = (),
        merge: Merge = _no_networks,
        makes_base: bool = False,
    ) -> None:
        """Have the idle values wait where a placement has them.

        Args:
            unet: the parameters of the host's U-Net, for the base in 8 bits.
            merge: brings one of its layers to the networks that the host wants in it.
            makes_base: whether this model, and not the host's, is the base.

        Raises:
            NotEnoughMemory: for the base in 8 bits.
        """
        for part in self._parts:
            if placement is Placement.BOTH:
                part.keep_beside()
            else:
                part.keep_in_ram(copies)
        if placement is not Placement.EIGHT_BIT:
            self.base = None
        elif self.base is None or self.makes_base != makes_base or not self.base.covers(self.unet.modules):
            self.base, self.makes_base = None, makes_base
            layers = {id(module) for module in self.unet.modules}
            with _memory_for("the base in 8 bits beside the distilled model", "choose RAM under Memory"):
                self.unet.activate(makes_base)
                self.unet.settle()
                self.base = EightBit((named for named in unet if id(named.layer) in layers), merge)
            self.restore()

    def keep_networks_apart(self, text: Sequence[NamedParameter]) -> None:
        """Let the distilled model have other networks than the base, also in `text`, the host's text encoders."""
        if self.text is None:
            self.text = parameter_set.build(text, lambda _name: None)
        for part in (self.unet, self.text):
            part.keep_networks_apart()

    def restore(self) -> None:
        """Give the host's model its own weights back; safe to call at any time."""
        for part in self._parts:
            part.activate(False)
            part.settle()

    def release(self) -> None:
        """Restore and free; it cannot be used after."""
        self.closing.close()
        self.restore()
        for part in self._parts:
            part.clear()
        self.base = None
        self.cond_caches.clear()

    @contextmanager
    def own_text_encoder(self) -> Generator[None, None, None]:
        """Run the host's text encoder with the distilled model's weights."""
        if self.text is None:
            yield
            return
        self.text.activate(True)
        self.text.settle()
        try:
            yield
        finally:
            self.text.activate(False)
            self.text.settle()


def load_second_model(
    file: Header,
    unet: Sequence[NamedParameter],
    text: Sequence[NamedParameter],
    style: Style | None = None,
    copies: Copies | None = None,
) -> SecondModel:
    """Read a file's U-Net, and text encoder where `text` is not empty, as second sets; equal tensors are shared.

    The file may have its U-Net in any of the known layouts; `carry` adds what the live model has learnt since its
    origin. With `copies` the sets are in RAM from the first tensor on.

    Args:
        file: what the file says of itself; a file that has changed since is refused.

    Raises:
        NotEnoughMemory: memory does not suffice.
        DiversityError: the file cannot be read.
    """
    names = [named.name for named in unet]
    with ExitStack() as stack:
        value = _loader(stack.enter_context(open_tensors(file)), names)
        if style is not None:
            live = {named.name: named for named in (*unet, *text)}
            origin = _loader(stack.enter_context(open_origin(style)), names)
            value = carrying(value, lambda name: live[name].clean, origin, style.strength)
        return build_second_model(file.path.name, unet, text, value, copies)


def build_second_model(
    name: str,
    unet: Sequence[NamedParameter],
    text: Sequence[NamedParameter],
    value: Callable[[str], torch.Tensor | None],
    copies: Copies | None = None,
) -> SecondModel:
    """The second sets whose values [...] `value` gives by canonical name, None where both models share one.

    The host's model is not touched. A text encoder equal to the host's costs nothing and gives `text=None`.

    Raises:
        NotEnoughMemory: memory does not suffice.
    """
    with (
        _memory_for(
            f"the distilled model '{name}' beside the loaded checkpoint",
            "close other programs or choose a smaller model",
        ),
        torch.no_grad(),
    ):
        unet_set = parameter_set.build(unet, value, copies)
        text_set = parameter_set.build(text, value, copies)
    return SecondModel(unet_set, text_set if len(text_set) else None)


def _memory_for(what: str, remedy: str) -> AbstractContextManager[None]:
    return memory_for(lambda said: f"There is not enough memory for {what} ({said}); {remedy}.")


def _loader(source: TensorSource, unet_names: Sequence[str]) -> Callable[[str], torch.Tensor | None]:
    keys = file_keys(list(source.keys()), unet_names)

    def load(name: str) -> torch.Tensor | None:
        return source.get(keys[name]) if name in keys else None

    return load
