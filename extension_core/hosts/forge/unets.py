"""The U-Nets of one run of the host's sampler, and which of them are where the host computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from backend import memory_management, utils
from backend.patcher.unet import UnetPatcher

from extension_core.hosts.forge.base_unet import KEPT_IN_8_BITS
from extension_core.hosts.forge.memory import Memory, bring, is_there, to_ram
from extension_core.hosts.forge.second_unet import exchanged
from extension_core.sampling.routing import Phase
from extension_core.weights.placement import Placement


@dataclass
class RunUnets:
    """One run of the host's sampler.

    Attributes:
        requested: the request's own, as it was when the run began.
        patchers: of the phases that take part, in their order; the host itself loads the first before its first step
            and cleans up after it.
        whole_base: gives the base's patcher with its own values, where `patchers` has the one in 8 bits; else None.
        others: patchers of all models that could be where the host computes, whether they take part or not.
        beside: other extensions' patchers that are loaded together with the U-Net.
        preserved: bytes that other extensions want kept free.
        latents: their shape [B, C, H, W].
    """

    memory: Memory
    requested: UnetPatcher
    patchers: dict[Phase, UnetPatcher]
    whole_base: Callable[[], UnetPatcher] | None
    others: Sequence[UnetPatcher]
    beside: Sequence[Any]
    preserved: float
    latents: Sequence[int]
    _running: UnetPatcher | None = None
    _loaded: UnetPatcher | None = None
    _together: bool = False
    _online: list[UnetPatcher] = field(default_factory=list)

    def __post_init__(self) -> None:
        # A pass may have no step to make: DDIM's grid ends above noise level 0, where little strength begins.
        self.first = next(iter(self.patchers.values()), self.requested)
        self._loaded = self.first

    def clear(self) -> None:
        """Before the host loads the first: what is not to be there now, to RAM."""
        if self.memory.placement is Placement.RAM:
            self._leave_alone(self.first)
        elif self.whole_base is not None:
            part = [patcher.model for patcher in self.patchers.values()]
            for patcher in self.others:
                if patcher.model not in part:
                    to_ram(patcher)

    def in_place_of(self, phase: Phase, now: UnetPatcher) -> UnetPatcher:
        """What a phase's call runs where the host has `now`, which is not `requested` if others exchange it."""
        patcher = self.patchers[phase]
        if now is self.requested:
            return patcher
        return now if patcher is self.requested else exchanged(patcher, now)

    def enter(self, phase: Phase) -> UnetPatcher | None:
        """The patcher of a phase, ready to run; None if it takes no part."""
        patcher = self.patchers.get(phase)
        self._running = patcher
        if patcher is not None:
            if self.memory.placement is not Placement.RAM:
                self._load_together()
            elif patcher is not self._loaded:
                self._change_to(patcher)
            self._bring_networks(patcher)
        return patcher

    def _load_together(self) -> None:
        """The others, beside what the host has loaded before its first step; once."""
        others = [patcher for patcher in self.patchers.values() if patcher is not self.first]
        if others and not self._together:
            bring(self.first, [*self.beside, *others], self.preserved, self.latents)
        self._together = True

    def _change_to(self, patcher: UnetPatcher) -> None:
        self._loaded = None
        self._leave_alone(patcher)
        bring(patcher, self.beside, self.preserved, self.latents)
        self._loaded = patcher

    def _idle(self, patcher: UnetPatcher | None) -> list[UnetPatcher]:
        """One patcher of every other model."""
        known = {id(x.model): x for x in (*self.others, *self.patchers.values())}
        return [x for key, x in known.items() if patcher is None or key != id(patcher.model)]

    def _leave_alone(self, patcher: UnetPatcher | None) -> None:
        for idle in self._idle(patcher):
            to_ram(idle)

    def make_room(self) -> str:
        """As `protocols.Second`; from now on the models take turns."""
        if not self.memory.can_make_room or not any(map(is_there, self._idle(self._running))):
            return ""
        warning = self.memory.ran_out()
        self._leave_alone(self._running)
        if self.whole_base is not None:
            self._drop_8_bits(self.whole_base())
        self._loaded = self._running
        memory_management.soft_empty_cache()
        return warning

    def _drop_8_bits(self, whole: UnetPatcher) -> None:
        """The host's sampler still refers to it, so it is moved away first."""
        dropped = self.patchers[Phase.BASE]
        to_ram(dropped)
        self.patchers[Phase.BASE], self.whole_base = whole, None
        if self._running is dropped:
            self._running = None
        KEPT_IN_8_BITS.drop()

    def _bring_networks(self, patcher: UnetPatcher) -> None:
        """Networks that are applied anew at each call: to the device, as the host does for the first."""
        if patcher is self.first or patcher in self._online or not patcher.has_online_lora():
            return
        self._online.append(patcher)
        utils.nested_move_to_device(
            patcher.lora_patches, device=patcher.current_device, dtype=patcher.model.computation_dtype
        )

    def close(self) -> None:
        """The run has ended."""
        for patcher in self._online:
            utils.nested_move_to_device(patcher.lora_patches, device=patcher.offload_device)
        self._online.clear()
