"""One run of the host's sampler with two U-Nets at hand."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from backend.patcher.unet import UnetPatcher
from modules import shared

from extension_core.hosts.common.processing.attributes import during, set_until_closed
from extension_core.hosts.forge.base_unet import base_in_8_bits, base_patcher
from extension_core.hosts.forge.engine_view import view_of
from extension_core.hosts.forge.loading import LoadedModel
from extension_core.hosts.forge.memory import Memory
from extension_core.hosts.forge.text import second_text
from extension_core.hosts.forge.unets import RunUnets
from extension_core.sampling.plan import PassPlan
from extension_core.sampling.roles import Resident
from extension_core.sampling.routing import Phase
from extension_core.sampling.session import Session
from extension_core.weights.placement import Placed, Placement


@dataclass
class SwappedModel:
    """A second model whose patcher takes the place of the host's for single denoiser calls.

    The host looks up `forge_objects.unet` of the engine behind its denoiser at every step
    (backend/sampling/sampling_function.py, dfdcbab6), and with it model, patches and controls. That engine is
    everybody's, so the denoiser is given a view of it for the length of a call.
    """

    model: LoadedModel | None
    memory: Memory
    _unets: RunUnets | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """As `protocols.Second`."""
        return self.model.notes if self.model is not None else ()

    @property
    def placed(self) -> Placed:
        """As `protocols.Second`."""
        return self.memory.placed

    def make_room(self) -> str:
        """As `protocols.Second`."""
        warning = self._unets.make_room() if self._unets is not None else ""
        if warning and self.model is not None:
            self.model.ran_out = True
        return warning

    def keep_networks_apart(self) -> None:
        """As `protocols.Second`; each patcher has networks of its own, so only the text encoder is to be had twice."""
        if self.model is not None and self.model.text is None:
            self.model.text = second_text(self.model.unet.patcher.model.diffusion_model)

    def own_conds(self, p: Any, lora_factor: float) -> tuple[Any, Any] | None:
        """As `protocols.Second`."""
        text = self.model.text if self.model is not None else None
        return text.conds(p, lora_factor) if text is not None else None

    @contextmanager
    def sampling(self, p: Any, plan: PassPlan, session: Session) -> Iterator[None]:
        """Have the host load what takes part before the first step, or the first of them."""
        engine = shared.sd_model
        with ExitStack() as stack:
            unets = self._take_part(stack, engine.forge_objects.unet, p, plan, session)
            unets.clear()
            if unets.first is not unets.requested:
                first = view_of(engine, unet=lambda _now: unets.first)
                set_until_closed(stack, p.sampler.model_wrap, "inner_model", first)
            set_until_closed(stack, self, "_unets", unets)
            yield

    def _take_part(
        self, stack: ExitStack, requested: UnetPatcher, p: Any, plan: PassPlan, session: Session
    ) -> RunUnets:
        second = self.model.unet if self.model is not None else None
        whole_base: Callable[[], UnetPatcher] | None = None
        others = [requested] if second is None else [requested, second.patcher]

        def patcher_of(phase: Phase) -> UnetPatcher:
            factor = session.lora_factor(phase)
            if second is None or session.roles.resident(phase) is Resident.LOADED:
                return base_patcher(stack, requested, factor)
            stack.callback(second.forget_request)
            return second.for_request(requested, factor)

        taking_part = zip(Phase, (plan.split.base, plan.split.distilled), strict=True)
        make = {phase: functools.partial(patcher_of, phase) for phase, levels in taking_part if levels}
        if len(make) > 1 and second is not None and self.memory.placement is Placement.EIGHT_BIT:
            own = second if session.roles.resident(Phase.BASE) is Resident.SECOND else None
            whole_base = make[Phase.BASE]
            make[Phase.BASE] = functools.partial(base_in_8_bits, stack, requested, session.lora_factor(Phase.BASE), own)
        patchers = {phase: patcher() for phase, patcher in make.items()}
        beside = tuple(requested.extra_model_patchers_during_sampling)
        preserved = requested.extra_preserved_memory_during_sampling
        latents = (len(p.rng.seeds), *p.rng.shape)
        unets = RunUnets(self.memory, requested, patchers, whole_base, others, beside, preserved, latents)
        stack.callback(unets.close)
        return unets

    @contextmanager
    def phase(self, phase: Phase, denoiser: Any) -> Iterator[None]:
        """Let the host's denoiser find the phase's patcher for one call."""
        unets = self._unets
        if unets is None or unets.enter(phase) is None:
            yield
            return
        view = view_of(shared.sd_model, unet=functools.partial(unets.in_place_of, phase))
        with during(denoiser.inner_model, inner_model=view):
            yield

    def restore(self) -> None:
        """Nothing: each block gives back what it took."""


def prepare_request(p: Any, session: Session) -> None:
    """Let the host compute both conditionings if any phase needs them, and tell the hires pass its CFG.

    It leaves the negative prompt out where `cfg_scale` (`hr_cfg` in the hires pass) is 1 (modules/processing.py,
    dfdcbab6), which says nothing about the other phase.
    """
    if hasattr(p, "hr_cfg"):
        p.hr_cfg = p.cfg_scale
    scale = next((cfg for cfg in _scales(session) if cfg != 1.0), 1.0)
    original = p.setup_conds

    def setup_conds() -> None:
        scales = {"cfg_scale": scale, "hr_cfg": scale} if hasattr(p, "hr_cfg") else {"cfg_scale": scale}
        with during(p, **scales):
            original()

    p.setup_conds = setup_conds


def _scales(session: Session) -> Iterator[float]:
    for part in session.plan.passes:
        if part.split.base:
            yield part.base_cfg
        if part.split.distilled:
            yield part.distilled_cfg


@contextmanager
def guidance(p: Any, cfg: float) -> Iterator[None]:
    """In the hires pass the host takes `hr_cfg` instead of the call's CFG (modules/sd_samplers_cfg_denoiser.py)."""
    if not p.is_hr_pass:
        yield
        return
    with during(p, hr_cfg=cfg):
        yield
