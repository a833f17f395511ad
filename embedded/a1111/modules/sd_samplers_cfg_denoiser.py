"""The denoisers that samplers call: they choose the conditioning of the step, run the U-Net on both halves, guide."""

from __future__ import annotations

from typing import Any

import torch

from modules import prompt_parser, sd_samplers_common, shared
from modules.script_callbacks import (
    AfterCFGCallbackParams,
    CFGDenoisedParams,
    CFGDenoiserParams,
    cfg_after_cfg_callback,
    cfg_denoised_callback,
    cfg_denoiser_callback,
)
from modules.sd_denoising import apply_refiner, blended, left_out_by_settings
from modules.shared import opts, state


class CFGDenoiser(torch.nn.Module):
    """Classifier-free guidance around `inner_model`. Computes the unconditional half at every CFG, 1 included; only two
    settings leave it out. `step` counts calls, not steps, and is what prompt editing goes by.
    """

    def __init__(self, sampler: Any) -> None:
        super().__init__()
        self.sampler = sampler
        self.p: Any = None
        self.model_wrap: Any = None
        self.mask: Any = None
        self.nmask: Any = None
        self.init_latent: Any = None
        self.image_cfg_scale: float | None = None
        self.steps: int | None = None
        self.total_steps = self.step = 0
        self.padded_cond_uncond = self.mask_before_denoising = False
        # of DDIM CFG++, which is not here: always so
        self.cond_scale_miltiplier, self.need_last_noise_uncond = 1.0, False

    @property
    def inner_model(self) -> Any:
        raise NotImplementedError

    def get_pred_x0(self, x_in: torch.Tensor, x_out: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        del x_in, sigma
        return x_out

    def combine_denoised(self, x_out: torch.Tensor, conds_list: Any, uncond: Any, cond_scale: float) -> torch.Tensor:
        """Each picture's unconditional prediction, moved towards those of its prompt's parts by their weights."""
        away = x_out[len(x_out) - len(uncond) :]
        guided = away.clone()
        for row, parts in enumerate(conds_list):
            for place, weight in parts:
                guided[row] += (x_out[place] - away[row]) * (weight * cond_scale)
        return guided

    def update_inner_model(self) -> None:
        """After another checkpoint was read: a new inner model and newly computed conditioning."""
        self.model_wrap = None
        renewed = self.p.get_conds()
        self.sampler.sampler_extra_args.update(cond=renewed[0], uncond=renewed[1])

    def _padded(self, text: torch.Tensor, negative: torch.Tensor) -> list[torch.Tensor]:
        """Equally long, where the setting says so: the shorter one is lengthened by chunks of the empty prompt."""
        longest = max(text.shape[1], negative.shape[1])
        self.padded_cond_uncond = opts.pad_cond_uncond and text.shape[1] != negative.shape[1]
        if not self.padded_cond_uncond:
            return [text, negative]
        empty = shared.sd_model.cond_stage_model_empty_prompt
        chunks = [(longest - given.shape[1]) // empty.shape[1] for given in (text, negative)]
        return [
            torch.cat([given, empty.repeat(len(given), count, 1)], dim=1)
            for given, count in zip((text, negative), chunks, strict=True)
        ]

    def _predicted(self, rows: list[torch.Tensor], conds: list[torch.Tensor], size: int) -> torch.Tensor:
        """The inner model's outputs for rows of (latents, levels, pictures): in one call where prompt and negative
        prompt are equally long and the setting lets them, else in several of at most `size` rows.
        """
        together = len({cond.shape[1] for cond in conds}) == 1
        groups = [torch.cat(conds)] if together else conds
        if opts.batch_cond_uncond:
            size = len(rows[0]) if together else 2 * size
        found, first = [], 0
        for group in groups:
            for cond in group.split(size):
                x, sigma, picture = (row[first : first + len(cond)] for row in rows)
                first += len(cond)
                found.append(self.inner_model(x, sigma, cond={"c_crossattn": [cond], "c_concat": [picture]}))
        return torch.cat(found)

    def forward(
        self,
        x: torch.Tensor,
        sigma: torch.Tensor,
        uncond: Any,
        cond: Any,
        cond_scale: float,
        s_min_uncond: float,
        image_cond: torch.Tensor,
    ) -> torch.Tensor:
        """The guided prediction for x [B, C, h, w] at noise levels sigma [B]: x0, or for timestep samplers eps at
        timesteps sigma.
        """
        if state.interrupted or state.skipped:
            raise sd_samplers_common.InterruptedException
        if apply_refiner(self, x, sigma):
            cond, uncond = (self.sampler.sampler_extra_args[name] for name in ("cond", "uncond"))
        parts, text = prompt_parser.reconstruct_multicond_batch(cond, self.step)
        negative = prompt_parser.reconstruct_cond_batch(uncond, self.step)
        if self.mask_before_denoising:
            x = blended(self, x, sigma)
        count = len(parts)
        owners = [row for row in range(count) for _ in parts[row]] + list(range(count))
        place = (state.sampling_step, state.sampling_steps)
        asked = CFGDenoiserParams(x[owners], image_cond[owners], sigma[owners], *place, text, negative, self)
        cfg_denoiser_callback(asked)
        conds, rows = [asked.text_cond, asked.text_uncond], [asked.x, asked.sigma, asked.image_cond]
        alone = left_out_by_settings(self, sigma, s_min_uncond)
        self.p.extra_generation_params.update(alone)
        conds = conds[:1] if alone else self._padded(*conds)
        own = [row[0][0] for row in parts]
        x_out = self._predicted(rows, conds, count)
        if alone:  # the prompt's own prediction stands where the negative prompt's would
            x_out = torch.cat([x_out, x_out[own]])
        cfg_denoised_callback(CFGDenoisedParams(x_out, *place, self.inner_model))
        denoised = self.combine_denoised(x_out, parts, asked.text_uncond, 1.0 if alone else cond_scale)
        if not self.mask_before_denoising:
            denoised = blended(self, denoised, sigma)
        self.sampler.last_latent = self.get_pred_x0(asked.x[own], x_out[own], sigma)
        sd_samplers_common.store_latent(self.sampler.last_latent)
        after = AfterCFGCallbackParams(denoised, *place)
        cfg_after_cfg_callback(after)
        self.step += 1
        return after.x


class CompVisTimestepsDenoiser(torch.nn.Module):
    """The model as timestep samplers ask it: latents and timesteps to eps."""

    def __init__(self, model: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.inner_model = model

    def forward(self, input: torch.Tensor, timesteps: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        predicted = self.inner_model.apply_model(input, timesteps, **kwargs)
        if self.inner_model.parameterization != "v":
            return predicted
        power = self.inner_model.alphas_cumprod[timesteps.to(torch.int)][:, None, None, None]
        return power.sqrt() * predicted + (1 - power).sqrt() * input


class CFGDenoiserTimesteps(CFGDenoiser):
    """Keeps the schedule of the model that was loaded when it was made."""

    def __init__(self, sampler: Any) -> None:
        super().__init__(sampler)
        self.alphas = shared.sd_model.alphas_cumprod
        self.mask_before_denoising = True

    def get_pred_x0(self, x_in: torch.Tensor, x_out: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        power = self.alphas[sigma.to(dtype=torch.int)][:, None, None, None]
        return (x_in - (1 - power).sqrt() * x_out) / power.sqrt()

    @property
    def inner_model(self) -> Any:
        if self.model_wrap is None:
            self.model_wrap = CompVisTimestepsDenoiser(shared.sd_model)
        return self.model_wrap
