"""The denoisers that samplers call: they choose the conditioning of the step, run the U-Net on both halves, guide."""

from __future__ import annotations

from typing import Any

import torch

from modules import sd_samplers_common, shared
from modules.script_callbacks import (
    CFGDenoisedParams,
    CFGDenoiserParams,
    cfg_denoised_callback,
    cfg_denoiser_callback,
)
from modules.sd_denoising import Guided, Step, blended, left_out_by_settings
from modules.shared import opts


class CFGDenoiser(Guided):
    """Classifier-free guidance. Computes the unconditional half at every CFG, 1 included; only two settings leave it
    out.
    """

    cond_scale_miltiplier = 1.0  # of DDIM CFG++, which is not here

    def combine_denoised(self, x_out: torch.Tensor, conds_list: Any, uncond: Any, cond_scale: float) -> torch.Tensor:
        """Each picture's unconditional prediction, moved towards those of its prompt's parts by their weights."""
        away = x_out[len(x_out) - len(uncond) :]
        guided = away.clone()
        for row, parts in enumerate(conds_list):
            for place, weight in parts:
                guided[row] += (x_out[place] - away[row]) * (weight * cond_scale)
        return guided

    def _padded(self, *conds: torch.Tensor) -> list[torch.Tensor]:
        """Equally long, where the setting says so: the shorter one is lengthened by chunks of the empty prompt."""
        longest = max(cond.shape[1] for cond in conds)
        self.padded_cond_uncond = opts.pad_cond_uncond and any(cond.shape[1] < longest for cond in conds)
        if not self.padded_cond_uncond:
            return list(conds)
        empty = shared.sd_model.cond_stage_model_empty_prompt
        chunks = [(longest - cond.shape[1]) // empty.shape[1] for cond in conds]
        return [torch.hstack([cond, empty.repeat(len(cond), n, 1)]) for cond, n in zip(conds, chunks)]

    def _predicted(self, rows: list[torch.Tensor], conds: list[torch.Tensor], size: int) -> torch.Tensor:
        """The inner model's outputs for rows of (latents, levels, pictures): in one call where prompt and negative
        prompt are equally long and the setting lets them, else in several of at most `size` rows.
        """
        together = len({cond.shape[1] for cond in conds}) == 1
        groups = [torch.cat(conds)] if together else conds
        if opts.batch_cond_uncond:
            size = len(rows[0]) if together else 2 * size
        found, first = [], 0
        for cond in (part for group in groups for part in group.split(size)):
            x, sigma, picture = (row[first : first + len(cond)] for row in rows)
            first += len(cond)
            found.append(self.inner_model(x, sigma, cond={"c_crossattn": [cond], "c_concat": [picture]}))
        return torch.cat(found)

    def guided(self, step: Step) -> torch.Tensor:
        sigma, parts = step.sigma, step.parts
        x = blended(self, step.x, sigma) if self.mask_before_denoising else step.x
        count, own = len(parts), [row[0][0] for row in parts]
        owners = [row for row in range(count) for _ in parts[row]] + list(range(count))
        rows = (x[owners], step.image_cond[owners], sigma[owners])
        asked = CFGDenoiserParams(*rows, *step.place, step.text, step.negative, self)
        cfg_denoiser_callback(asked)
        alone = left_out_by_settings(self, sigma, step.s_min_uncond)
        self.p.extra_generation_params.update(alone)
        conds = [asked.text_cond] if alone else self._padded(asked.text_cond, asked.text_uncond)
        x_out = self._predicted([asked.x, asked.sigma, asked.image_cond], conds, count)
        if alone:  # the prompt's own prediction stands where the negative prompt's would
            x_out = torch.cat([x_out, x_out[own]])
        cfg_denoised_callback(CFGDenoisedParams(x_out, *step.place, self.inner_model))
        denoised = self.combine_denoised(x_out, parts, asked.text_uncond, 1.0 if alone else step.cond_scale)
        if not self.mask_before_denoising:
            denoised = blended(self, denoised, sigma)
        self.sampler.last_latent = self.get_pred_x0(asked.x[own], x_out[own], sigma)
        sd_samplers_common.store_latent(self.sampler.last_latent)
        return denoised


class CompVisTimestepsDenoiser(torch.nn.Module):
    """The model as timestep samplers ask it: latents and timesteps to eps."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.inner_model = model

    def forward(self, input: torch.Tensor, timesteps: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        predicted = self.inner_model.apply_model(input, timesteps, **kwargs)
        if self.inner_model.parameterization != "v":
            return predicted
        power = self.inner_model.alphas_cumprod[timesteps.to(torch.int)][:, None, None, None]
        return power.sqrt() * predicted + (1 - power).sqrt() * input


class CFGDenoiserTimesteps(CFGDenoiser):
    """Keeps the schedule of the model that was loaded when it was made."""

    mask_before_denoising = True

    def __init__(self, sampler: Any) -> None:
        super().__init__(sampler)
        self.alphas = shared.sd_model.alphas_cumprod

    def get_pred_x0(self, x_in: torch.Tensor, x_out: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        power = self.alphas[sigma.to(dtype=torch.int)][:, None, None, None]
        return (x_in - (1 - power).sqrt() * x_out) / power.sqrt()

    @property
    def inner_model(self) -> Any:
        if self.model_wrap is None:
            self.model_wrap = CompVisTimestepsDenoiser(shared.sd_model)
        return self.model_wrap
