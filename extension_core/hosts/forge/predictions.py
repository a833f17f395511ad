"""The predictions of x0 behind a call of Forge's denoiser.

Read in modules/sd_samplers_cfg_denoiser.py and backend/sampling/sampling_function.py (dfdcbab6).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from modules import shared

from extension_core.hosts.common.preview.calls import behind_the_mask
from extension_core.hosts.common.processing.attributes import during, set_until_closed
from extension_core.hosts.forge.engine_view import view_of
from extension_core.hosts.protocols import Predicted

_AFTER_GUIDANCE, _NEVER_SKIPS = "sampler_post_cfg_function", "disable_cfg1_optimization"


class Watched:
    """As `protocols.Watched`; both halves come as x0, for every sampler, from the patcher that runs."""

    def __init__(self, stack: ExitStack, p: Any, sampler: Any) -> None:
        self._p, self._sampler, self._denoiser = p, sampler, sampler.model_wrap_cfg
        self._halves: tuple[torch.Tensor, torch.Tensor] | None = None
        self._skips_uncond = False
        self._cfg = 1.0
        forward = self._denoiser.forward

        def guided(args: dict[str, Any]) -> Any:
            self._halves = args["cond_denoised"], args["uncond_denoised"]
            self._skips_uncond = math.isclose(self._cfg, 1.0) and not args["model_options"].get(_NEVER_SKIPS, False)
            return args["denoised"]

        def listening(*args: Any, **kwargs: Any) -> Any:
            inner = self._denoiser.inner_model
            view = view_of(inner.inner_model, unet=lambda unet: _with(unet, guided))
            with during(inner, inner_model=view):
                return forward(*args, **kwargs)

        set_until_closed(stack, self._denoiser, "forward", listening)

    def calling(self, sigma: torch.Tensor, cond_scale: float, s_min_uncond: float) -> float:
        """As `protocols.Watched`, levels [B]: the hires pass has a scale of its own, and some steps have none."""
        denoiser, opts = self._denoiser, shared.opts
        self._halves = None
        early = opts.skip_early_cond > 0 and denoiser.step / denoiser.total_steps <= opts.skip_early_cond
        every_other = denoiser.step % 2 or opts.s_min_uncond_all
        late = bool(every_other and s_min_uncond > 0 and self._sigma(sigma)[0] < s_min_uncond)
        scale = self._p.hr_cfg if self._p.is_hr_pass else cond_scale
        self._cfg = 1.0 if early or late else scale
        return self._cfg

    def called(self, x: torch.Tensor, sigma: torch.Tensor, result: torch.Tensor) -> Predicted:
        """As `protocols.Watched`, [B, C, h, w]; DDIM, PLMS and UniPC are given eps."""
        guided = result
        if self._denoiser.classic_ddim_eps_estimation:
            guided = self._x0(x, sigma, result) if self._denoiser.mask is None else self._sampler.last_latent
        if self._halves is None:
            return Predicted(guided)
        cond, uncond = (behind_the_mask(self._denoiser, half) for half in self._halves)
        self._halves = None
        return Predicted(guided, cond, None if self._skips_uncond else uncond)

    def _sigma(self, level: torch.Tensor) -> torch.Tensor:
        if not self._denoiser.classic_ddim_eps_estimation:
            return level
        alphas = self._alphas(level)
        return ((1 - alphas) / alphas) ** 0.5

    def _x0(self, x: torch.Tensor, timestep: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
        alphas = self._alphas(timestep)[:, None, None, None]
        return (x - (1 - alphas).sqrt() * eps) / alphas.sqrt()

    def _alphas(self, timestep: torch.Tensor) -> torch.Tensor:
        alphas = self._denoiser.inner_model.inner_model.alphas_cumprod.to(timestep.device)
        return alphas[timestep.round().long().clip(0, len(alphas) - 1)]


def _with(unet: Any, guided: Callable[[dict[str, Any]], Any]) -> Any:
    """A patcher as it is, for one call of the denoiser, with a function more that is shown what it guided."""
    heard = object.__new__(type(unet))  # copy.copy would note something on the host's class
    vars(heard).update(vars(unet))
    before = unet.model_options.get(_AFTER_GUIDANCE, [])
    heard.model_options = {**unet.model_options, _AFTER_GUIDANCE: [*before, guided]}
    return heard
