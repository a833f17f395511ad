"""Where the two models live while they take turns, and how that is decided."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

GIB = 1 << 30
# Part of the free memory that is left alone: allocators cannot use the last of it, and other programs draw windows.
_LEFT_ALONE = 0.05


class Placement(Enum):
    """Values of the option `residency`, without `auto`.

    Attributes:
        BOTH: both models are where the host computes.
        RAM: the model that is idle waits in RAM.
        EIGHT_BIT: the base computes from a copy in 8 bits (float8 e4m3) beside the distilled model; its own values wait
            in RAM.
    """

    BOTH = "both"
    RAM = "ram"
    EIGHT_BIT = "8bit"


@dataclass(frozen=True)
class Choice:
    """A placement.

    Attributes:
        why: what it was chosen for, "" if the user asked for it.
        warning: what the user should know of it, "" if nothing went otherwise than asked for.
    """

    placement: Placement
    why: str = ""
    warning: str = ""


def residency_for(asked: str, takes_turns: bool) -> str:
    """The option's value as a request can use it: 8 bits are for a base that takes turns with another model."""
    return Placement.RAM.value if asked == Placement.EIGHT_BIT.value and not takes_turns else asked


@dataclass(frozen=True)
class Room:
    """What a decision is made from, in bytes.

    Attributes:
        device: where the host computes, as torch names it.
        free: what new tensors may take there; None where it is not known or is the RAM itself.
        second: what the distilled model still needs there for both to be there.
        working: what the request needs beside the models.
        moved_by_host: the host itself keeps models in RAM while they are idle (medvram, lowvram).
    """

    device: str
    free: int | None
    second: int
    working: int
    moved_by_host: bool = False


def choose(asked: str, room: Room) -> Choice:
    """The user's choice, or for `auto` the one that the free memory allows.

    8 bits are never chosen by `auto`: the same request gives the same image on every machine.
    """
    if asked != "auto":
        return Choice(Placement(asked))
    if room.moved_by_host:
        return Choice(Placement.RAM, "the host keeps idle models in RAM")
    if room.free is None:
        unknown = f"the free memory on {room.device} is not known"
        return Choice(Placement.BOTH, "the processor computes in RAM" if room.device == "cpu" else unknown)
    usable = int(room.free * (1 - _LEFT_ALONE))
    needed = room.second + room.working
    placement = Placement.BOTH if needed <= usable else Placement.RAM
    return Choice(placement, f"{room.free / GIB:.1f} GiB free on {room.device}, {needed / GIB:.1f} GiB needed for both")


def working_bytes(width: int, height: int, batch: int, number_size: int) -> int:
    """Bytes that a request of this size (pixels) needs beside the models: U-Net or VAE, whichever needs more.

    As Forge reckons (backend/modules/k_model.py and backend/patcher/vae.py, dfdcbab6): the U-Net takes the batch with
    its negative half at once, the VAE one image.
    """
    latent = (width // 8) * (height // 8)
    unet = 1.28 * 16384 * 2 * batch * latent
    decoder = 2178 * 64 * latent
    return int(max(unet, decoder)) * number_size


@dataclass(frozen=True)
class Placed:
    """Where each model lives, in words.

    Attributes:
        why: what the decision was made from, "" if the user made it.
    """

    base: str
    distilled: str
    why: str = ""

    @property
    def where(self) -> str:
        """Both places in a few words."""
        same = self.base == self.distilled
        return f"both models {self.base}" if same else f"base {self.base}; distilled {self.distilled}"

    def __str__(self) -> str:
        return f"{self.where} ({self.why})" if self.why else self.where


def placed(choice: Choice, device: str) -> Placed:
    """A choice in words, for a host that computes on `device`."""
    if choice.placement is Placement.BOTH:
        return Placed(f"on {device}", f"on {device}", choice.why)
    if choice.placement is Placement.RAM:
        either = f"on {device} for its steps, else in RAM"
        return Placed(either, either, choice.why)
    return Placed(f"on {device} in 8 bits, its own values in RAM", f"on {device}", choice.why)


def ran_out(placement: Placement, device: str) -> Choice:
    """The choice after memory ran out on `device` with another one: the idle model waits in RAM."""
    where = placed(Choice(placement), device).where
    return Choice(
        Placement.RAM,
        f"memory on {device} ran out with {placement.value}",
        f"Memory ran out with {where}, so now the idle model waits in RAM, which makes each switch slower; choose RAM "
        "under Memory to begin so, or a smaller image.",
    )


def not_again(device: str) -> Choice:
    """The choice of `auto` while both models are loaded for which memory has run out once."""
    return Choice(Placement.RAM, ran_out(Placement.BOTH, device).why)
