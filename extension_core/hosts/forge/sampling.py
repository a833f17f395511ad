"""One run of the host's sampler with two U-Nets at hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from backend import utils
from backend.patcher.unet import UnetPatcher
from modules import shared

from extension_core.hosts.forge.base_unet import base_patcher
from extension_core.hosts.forge.loaded import LoadedModel
from extension_core.hosts.forge.second_unet import SecondUnet
from extension_core.hosts.forge.text import second_text
from extension_core.hosts.webui.attributes import during, set_until_closed
from extension_core.sampling.plan import PassPlan
from extension_core.sampling.routing import Phase
from extension_core.session import Session


@dataclass
class SwappedModel:
    """A distilled model whose patcher takes the place of the host's for single denoiser calls.

    The host looks up `forge_objects.unet` at every step (backend/sampling/sampling_function.py, dfdcbab6), and with it
    model, patches and controls.
    """

    model: LoadedModel | None
    _patcher: UnetPatcher | None = None
    _online: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        """As `webui.host.Second`."""
        return self.model.notes if self.model is not None else ()

    def keep_networks_apart(self) -> None:
        """As `webui.host.Second`; each patcher has networks of its own, so only the text encoder is to be had twice."""
        if self.model is not None and self.model.text is None:
            self.model.text = second_text(self.model.unet.patcher.model.diffusion_model)

    def own_conds(self, p: Any, lora_factor: float) -> tuple[Any, Any] | None:
        """As `webui.host.Second`."""
        text = self.model.text if self.model is not None else None
        return text.conds(p, lora_factor) if text is not None else None

    @contextmanager
    def sampling(self, p: Any, plan: PassPlan, session: Session) -> Iterator[None]:
        """Have the host load what takes part before the first step."""
        objects = shared.sd_model.forge_objects
        requested = objects.unet
        with ExitStack() as stack:
            patchers = []
            if plan.split.base:
                patchers.append(base_patcher(stack, requested, session.lora_factor(Phase.BASE)))
            if plan.split.distilled and self.model is not None:
                self._patcher = self.model.unet.for_request(requested, session.lora_factor(Phase.DISTILLED))
                stack.callback(self._done, self.model.unet, self._patcher)
                patchers.append(self._patcher)
            first, *others = patchers
            together = [*requested.extra_model_patchers_during_sampling, *others]
            set_until_closed(stack, first, "extra_model_patchers_during_sampling", together)
            set_until_closed(stack, objects, "unet", first)
            yield

    def _done(self, unet: SecondUnet, patcher: UnetPatcher) -> None:
        self._patcher = None
        if self._online:
            self._online = False
            utils.nested_move_to_device(patcher.lora_patches, device=patcher.offload_device)
        patcher.extra_model_patchers_during_sampling = []
        unet.forget_request()

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Put the distilled phase's patcher in the host's place for one call."""
        if phase is Phase.BASE or self._patcher is None:
            yield
            return
        self._bring_networks(self._patcher)
        with during(shared.sd_model.forge_objects, unet=self._patcher):
            yield

    def _bring_networks(self, patcher: UnetPatcher) -> None:
        """Networks that are applied anew at each call: to the device, as the host does for its own patcher."""
        if self._online or not patcher.has_online_lora():
            return
        self._online = True
        utils.nested_move_to_device(
            patcher.lora_patches, device=patcher.current_device, dtype=patcher.model.computation_dtype
        )

    def restore(self) -> None:
        """Nothing: each block gives back what it took."""


def settle(p: Any, session: Session) -> None:
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
