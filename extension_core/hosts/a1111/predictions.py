"""The predictions of x0 behind a call of A1111's denoiser (modules/sd_samplers_cfg_denoiser.py, 1.10.1)."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from modules import shared

from extension_core.hosts.a1111 import guidance
from extension_core.hosts.common.preview.calls import behind_the_mask
from extension_core.hosts.common.processing.attributes import set_until_closed
from extension_core.hosts.protocols import Predicted


class Watched:
    """As `protocols.Watched`.

    Reads what the host combines, which is eps for DDIM, PLMS and UniPC.
    """

    def __init__(self, stack: ExitStack, sampler: Any) -> None:
        self._denoiser = sampler.model_wrap_cfg
        self._rows: tuple[torch.Tensor, torch.Tensor] | None = None
        self._skips_uncond = False
        combine = self._denoiser.combine_denoised

        def combined(x_out: Any, conds_list: Any, uncond: Any, cond_scale: float) -> Any:
            first = [parts[0][0] for parts in conds_list]  # of prompts joined by AND, as the host's own preview shows
            self._rows = x_out[first], x_out[-uncond.shape[0] :]
            self._skips_uncond = self._skips_uncond or guidance.leaves_uncond_out(self._denoiser)
            return combine(x_out, conds_list, uncond, cond_scale)

        set_until_closed(stack, self._denoiser, "combine_denoised", combined)

    def calling(self, sigma: torch.Tensor, cond_scale: float, s_min_uncond: float) -> float:
        """As `protocols.Watched`, levels [B]; the host leaves the unconditional half out by these conditions.

        Whether the models' turns leave it out is known only when the call is made.
        """
        denoiser, opts = self._denoiser, shared.opts
        self._rows = None
        early = opts.skip_early_cond != 0 and denoiser.step / denoiser.total_steps <= opts.skip_early_cond
        every_other = denoiser.step % 2 or opts.s_min_uncond_all
        late = bool(every_other and s_min_uncond > 0 and sigma[0] < s_min_uncond)
        self._skips_uncond = bool(early or late)
        return 1.0 if self._skips_uncond else cond_scale * denoiser.cond_scale_miltiplier

    def called(self, x: torch.Tensor, sigma: torch.Tensor, result: torch.Tensor) -> Predicted:
        """As `protocols.Watched`: [B, C, h, w]."""
        denoiser = self._denoiser
        if denoiser.mask_before_denoising and denoiser.mask is not None:
            x = x * denoiser.nmask + denoiser.init_latent * denoiser.mask
        guided = denoiser.get_pred_x0(x, result, sigma)
        if denoiser.mask_before_denoising:
            guided = behind_the_mask(denoiser, guided)
        if self._rows is None:
            return Predicted(guided)
        cond, uncond = (behind_the_mask(denoiser, denoiser.get_pred_x0(x, row, sigma)) for row in self._rows)
        self._rows = None
        return Predicted(guided, cond, None if self._skips_uncond else uncond)
