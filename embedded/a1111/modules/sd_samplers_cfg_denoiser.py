"""The denoiser that samplers call: chooses the conditioning of the step, runs the U-Net on both halves, guides."""

from __future__ import annotations

from collections.abc import Callable
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
from modules.shared import opts, state


def catenate_conds(conds: list[Any]) -> Any:
    if not isinstance(conds[0], dict):
        return torch.cat(conds)
    return {key: torch.cat([x[key] for x in conds]) for key in conds[0]}


def subscript_cond(cond: Any, a: int, b: int) -> Any:
    return {key: vec[a:b] for key, vec in cond.items()} if isinstance(cond, dict) else cond[a:b]


def pad_cond(tensor: Any, repeats: int, empty: torch.Tensor) -> Any:
    if isinstance(tensor, dict):
        tensor["crossattn"] = pad_cond(tensor["crossattn"], repeats, empty)
        return tensor
    return torch.cat([tensor, empty.repeat((tensor.shape[0], repeats, 1))], dim=1)


def _repeat_rows(x: torch.Tensor, repeats: list[int]) -> torch.Tensor:
    """Row i of x, repeats[i] times."""
    return torch.cat([torch.stack([x[i]] * n) for i, n in enumerate(repeats)])


class CFGDenoiser(torch.nn.Module):
    """Classifier-free guidance around `inner_model`. Computes the unconditional half at every CFG, 1 included; only two
    settings leave it out. `step` counts calls, not steps, and is what prompt editing and the call-counting Refiner go
    by.
    """

    def __init__(self, sampler: Any) -> None:
        super().__init__()
        self.model_wrap: Any = None
        self.mask: Any = None
        self.nmask: Any = None
        self.init_latent: Any = None
        self.steps: int | None = None
        self.total_steps: int = 0
        self.step = 0
        self.image_cfg_scale: float | None = None
        self.padded_cond_uncond = False
        self.padded_cond_uncond_v0 = False
        self.sampler = sampler
        self.p: Any = None
        self.cond_scale_miltiplier = 1.0
        self.need_last_noise_uncond = False
        self.last_noise_uncond: Any = None
        self.mask_before_denoising = False

    @property
    def inner_model(self) -> Any:
        raise NotImplementedError

    def combine_denoised(self, x_out: torch.Tensor, conds_list: Any, uncond: Any, cond_scale: float) -> torch.Tensor:
        """Each picture's unconditional prediction, moved towards those of its prompt's parts by their weights."""
        away = x_out[-uncond.shape[0] :]
        guided = away.clone()
        for row, parts in enumerate(conds_list):
            for place, weight in parts:
                guided[row] += (x_out[place] - away[row]) * (weight * cond_scale)
        return guided

    def get_pred_x0(self, x_in: torch.Tensor, x_out: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        del x_in, sigma
        return x_out

    def update_inner_model(self) -> None:
        """After another checkpoint was read: a new inner model and newly computed conditioning."""
        self.model_wrap = None
        renewed = dict(zip(("cond", "uncond"), self.p.get_conds(), strict=True))
        self.sampler.sampler_extra_args.update(renewed)

    def pad_cond_uncond(self, cond: Any, uncond: Any) -> tuple[Any, Any]:
        """Lengthens the shorter one by chunks of the empty prompt."""
        filler = shared.sd_model.cond_stage_model_empty_prompt
        missing = (cond.shape[1] - uncond.shape[1]) // filler.shape[1]
        if missing:
            self.padded_cond_uncond = True
        if missing > 0:
            return cond, pad_cond(uncond, missing, filler)
        return (pad_cond(cond, -missing, filler), uncond) if missing else (cond, uncond)

    def pad_cond_uncond_v0(self, cond: Any, uncond: Any) -> tuple[Any, Any]:
        """Lengthens the negative prompt by its last row, or cuts it, to the prompt's length."""
        vec = uncond["crossattn"] if isinstance(uncond, dict) else uncond
        missing = cond.shape[1] - vec.shape[1]
        if missing:
            vec = torch.hstack([vec, vec[:, -1:].repeat([1, missing, 1])]) if missing > 0 else vec[:, : cond.shape[1]]
            self.padded_cond_uncond_v0 = True
        if isinstance(uncond, dict):
            uncond["crossattn"] = vec
            return cond, uncond
        return cond, vec

    @property
    def _inpaints(self) -> bool:
        return self.mask is not None

    def _blend(self, current_latent: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Inpainting: the original latent outside the mask."""
        p, start = self.p, self.init_latent
        blend = current_latent * self.nmask + start * self.mask
        if p.scripts is None:
            return blend
        from modules import scripts

        tensors = (current_latent, self.nmask, start, self.mask, blend)
        args = scripts.MaskBlendArgs(*tensors, denoiser=self, sigma=sigma)
        p.scripts.on_mask_blend(p, args)
        return args.blended_latent

    def _laid_out(
        self, conds_list: Any, by_picture: tuple[torch.Tensor, ...], text: Any, negative: Any
    ) -> CFGDenoiserParams:
        """Latents, levels and pictures once for each part of the prompts, then once for the negative prompts; all of it
        as extensions leave it.
        """
        repeats = [len(parts) for parts in conds_list]
        x, sigma, image_cond = (torch.cat([_repeat_rows(v, repeats), v]) for v in by_picture)
        place = (state.sampling_step, state.sampling_steps)
        rows = CFGDenoiserParams(x, image_cond, sigma, *place, text, negative, self)
        cfg_denoiser_callback(rows)
        return rows

    def _skips_uncond(self, sigma: torch.Tensor, s_min_uncond: float) -> bool:
        notes = self.p.extra_generation_params
        if opts.skip_early_cond != 0.0 and self.step / self.total_steps <= opts.skip_early_cond:
            notes["Skip Early CFG"] = opts.skip_early_cond
            return True
        if (self.step % 2 or opts.s_min_uncond_all) and s_min_uncond > 0 and sigma[0] < s_min_uncond:
            notes["NGMS"] = s_min_uncond
            if opts.s_min_uncond_all:
                notes["NGMS all steps"] = opts.s_min_uncond_all
            return True
        return False

    def _padded(self, tensor: Any, uncond: Any) -> tuple[Any, Any]:
        self.padded_cond_uncond = False
        self.padded_cond_uncond_v0 = False
        if tensor.shape[1] == uncond.shape[1]:
            return tensor, uncond
        if opts.pad_cond_uncond_v0:
            return self.pad_cond_uncond_v0(tensor, uncond)
        return self.pad_cond_uncond(tensor, uncond) if opts.pad_cond_uncond else (tensor, uncond)

    def _call(self, x: torch.Tensor, sigma: torch.Tensor, crossattn: Any, concat: torch.Tensor) -> torch.Tensor:
        cond = (
            {**crossattn, "c_concat": [concat]}
            if isinstance(crossattn, dict)
            else {"c_crossattn": [crossattn], "c_concat": [concat]}
        )
        return self.inner_model(x, sigma, cond=cond)

    def _in_pieces(
        self,
        x: torch.Tensor,
        sigma: torch.Tensor,
        cond: Any,
        concat: torch.Tensor,
        out: torch.Tensor,
        size: int,
        count: int,
    ) -> None:
        for a in range(0, count, size):
            b = min(a + size, count)
            out[a:b] = self._call(x[a:b], sigma[a:b], subscript_cond(cond, a, b), concat[a:b])

    def _denoise(
        self,
        x: torch.Tensor,
        sigma: torch.Tensor,
        tensor: Any,
        uncond: Any,
        concat: torch.Tensor,
        skip_uncond: bool,
        batch_size: int,
    ) -> torch.Tensor:
        """Rows of all prompts' parts, then (unless skipped) of the negative prompts; in one call where they are equally
        long.
        """
        if skip_uncond or tensor.shape[1] == uncond.shape[1]:
            cond = tensor if skip_uncond else catenate_conds([tensor, uncond])
            if opts.batch_cond_uncond:
                return self._call(x, sigma, cond, concat)
            out = torch.zeros_like(x)
            self._in_pieces(x, sigma, cond, concat, out, batch_size, out.shape[0])
            return out
        out = torch.zeros_like(x)
        size = batch_size * 2 if opts.batch_cond_uncond else batch_size
        self._in_pieces(x, sigma, tensor, concat, out, size, tensor.shape[0])
        n = uncond.shape[0]
        out[-n:] = self._call(x[-n:], sigma[-n:], uncond, concat[-n:])
        return out

    def _store_preview(
        self,
        x_in: torch.Tensor,
        x_out: torch.Tensor,
        denoised: torch.Tensor,
        first: list[int],
        uncond: Any,
        sigma: torch.Tensor,
    ) -> None:
        def rows(x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x[i : i + 1] for i in first])

        self.sampler.last_latent = self.get_pred_x0(rows(x_in), rows(x_out), sigma)
        preview: Callable[[], torch.Tensor] = {
            "Prompt": lambda: self.sampler.last_latent,
            "Negative prompt": lambda: self.get_pred_x0(x_in[-uncond.shape[0] :], x_out[-uncond.shape[0] :], sigma),
        }.get(opts.live_preview_content, lambda: self.get_pred_x0(rows(x_in), rows(denoised), sigma))
        sd_samplers_common.store_latent(preview())

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
        if sd_samplers_common.apply_refiner(self, sigma):
            renewed = self.sampler.sampler_extra_args
            cond, uncond = renewed["cond"], renewed["uncond"]
        conds_list, text = prompt_parser.reconstruct_multicond_batch(cond, self.step)
        negative = prompt_parser.reconstruct_cond_batch(uncond, self.step)
        if self.mask_before_denoising and self._inpaints:
            x = self._blend(x, sigma)
        rows = self._laid_out(conds_list, (x, sigma, image_cond), text, negative)
        x_in, sigma_in, batch_size = rows.x, rows.sigma, len(conds_list)
        skip_uncond = self._skips_uncond(sigma, s_min_uncond)
        if skip_uncond:
            x_in, sigma_in = x_in[:-batch_size], sigma_in[:-batch_size]
        text, negative = self._padded(rows.text_cond, rows.text_uncond)
        x_out = self._denoise(x_in, sigma_in, text, negative, rows.image_cond, skip_uncond, batch_size)
        first = [conds[0][0] for conds in conds_list]
        if skip_uncond:  # the prompt's own prediction stands where the negative prompt's would
            x_out = torch.cat([x_out, *(x_out[i : i + 1] for i in first)])
        place = (state.sampling_step, state.sampling_steps)
        cfg_denoised_callback(CFGDenoisedParams(x_out, *place, self.inner_model))
        if self.need_last_noise_uncond:
            self.last_noise_uncond = x_out[-negative.shape[0] :].clone()
        scale = 1.0 if skip_uncond else cond_scale * self.cond_scale_miltiplier
        denoised = self.combine_denoised(x_out, conds_list, negative, scale)
        if self._inpaints and not self.mask_before_denoising:
            denoised = self._blend(denoised, sigma)
        self._store_preview(x_in, x_out, denoised, first, negative, sigma)
        after = AfterCFGCallbackParams(denoised, *place)
        cfg_after_cfg_callback(after)
        self.step += 1
        return after.x
