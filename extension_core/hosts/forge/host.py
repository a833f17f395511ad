"""Forge as the common part sees it: a second patcher that takes the U-Net's place."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

from modules import shared

from extension_core.hosts.forge import kinds, memory, model, neighbours, noise, prompt_loras, swapped_model
from extension_core.hosts.forge.base_unet import KEPT_IN_8_BITS
from extension_core.hosts.forge.decoding import ForgeDecoding
from extension_core.hosts.forge.predictions import Watched
from extension_core.hosts.forge.swapped_model import SwappedModel
from extension_core.hosts.noise import Noise
from extension_core.sampling.schedule import NoiseSchedule
from extension_core.sampling.session import Session
from extension_core.weights.live_model import LiveModel
from extension_core.weights.placement import Placed, Placement
from extension_core.weights.selection import Selection


class Forge:
    """As `protocols.Host`."""

    decoding = ForgeDecoding()

    def watch_model_changes(self) -> None:
        """As `protocols.Host`."""
        model.watch_model_changes()

    def is_loaded(self) -> bool:
        """Whether a checkpoint is loaded."""
        return model.is_loaded()

    def check_model(self) -> None:
        """As `protocols.Host`."""
        model.check_host_model()

    def check_request(self, p: Any) -> None:
        """Refuse modules of its own for the hires pass, and what goes with no model of the loaded kind."""
        model.check_hires_modules(p)
        if model.is_loaded():
            kinds.check_request(p)

    def live_model(self) -> LiveModel:
        """As `protocols.Host`."""
        return model.live_model()

    def other_vae(self) -> bool:
        """As `protocols.Host`; of its further modules any may be one."""
        return bool(shared.opts.forge_additional_modules)

    def noise(self, live: bool = False) -> Noise:
        """As `protocols.Host`."""
        return noise.live() if live else noise.in_force()

    def noise_schedule(self) -> NoiseSchedule:
        """As `protocols.Host`."""
        return noise.in_force().schedule

    def keep_levels(self) -> Callable[[], None]:
        """As `protocols.Host`."""
        return noise.keep()

    def prepare_request(self, p: Any, session: Session) -> None:
        """As `protocols.Host`."""
        memory.begin(p)
        swapped_model.prepare_request(p, session)

    def neighbours_notes(self, p: Any, session: Session) -> tuple[str, ...]:
        """As `protocols.Host`."""
        return neighbours.notes(p, session)

    def second_model(self, selection: Selection, p: Any, residency: str) -> SwappedModel:
        """As `protocols.Host`; what is decided holds for all batches of the request."""
        decided = memory.of_request(p, residency, model.ran_out(selection))
        if decided.placement is not Placement.EIGHT_BIT:
            KEPT_IN_8_BITS.drop()
        return SwappedModel(model.second_model(selection), decided)

    def expected_placement(self, path: Path | None, p: Any, residency: str) -> Placed:
        """As `protocols.Host`."""
        if path is None:
            return memory.of_one_model().placed
        resident = model.RESIDENCY.model
        return memory.decide(p, residency, resident is not None and resident.ran_out).placed

    def base_alone(self) -> SwappedModel:
        """As `protocols.Host`."""
        return SwappedModel(None, memory.of_one_model())

    def text_networks(self, p: Any, factor: float) -> AbstractContextManager[None]:
        """As `protocols.Host`."""
        return prompt_loras.on_text_at_factor(p, factor)

    def unet_networks(self, denoiser: Any, factor: float) -> AbstractContextManager[None]:
        """Nothing: each patcher has its own."""
        return nullcontext()

    def guidance(self, p: Any, denoiser: Any, cond: Any, cfg: float) -> AbstractContextManager[None]:
        """The host leaves the unconditional half out at CFG 1 by itself."""
        return swapped_model.guidance(p, cfg)

    def watch(self, stack: ExitStack, p: Any, sampler: Any) -> Watched:
        """As `protocols.Host`."""
        return Watched(stack, p, sampler)
