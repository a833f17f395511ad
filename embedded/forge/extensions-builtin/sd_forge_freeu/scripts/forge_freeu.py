"""FreeU (Si et al. 2023): the decoder's features are strengthened and its skips' low frequencies weakened.

A patch at the output blocks of two widths, over a part of the steps.
"""

from __future__ import annotations

from typing import Any

import gradio as gr
import torch
from modules import scripts
from modules.infotext_utils import PasteField
from modules.script_callbacks import CFGDenoiserParams, on_cfg_denoiser, remove_current_script_callbacks
from modules.ui_components import InputAccordion

# By label: name, default and greatest value.
_SLIDERS = {
    "B1": ("b1", 1.01, 2.0),
    "B2": ("b2", 1.02, 2.0),
    "S1": ("s1", 0.99, 4.0),
    "S2": ("s2", 0.95, 4.0),
    "Start step": ("start", 0.0, 1.0),
    "End step": ("end", 1.0, 1.0),
}


def fourier_filter(x: torch.Tensor, threshold: int, scale: float) -> torch.Tensor:
    """x [B, C, h, w] with frequencies below `threshold` scaled."""
    spectrum = torch.fft.fftshift(torch.fft.fftn(x.float(), dim=(-2, -1)), dim=(-2, -1))
    rows, columns = x.shape[-2] // 2, x.shape[-1] // 2
    mask = torch.ones_like(x, dtype=torch.float32)
    mask[..., rows - threshold : rows + threshold, columns - threshold : columns + threshold] = scale
    changed = torch.fft.ifftshift(spectrum * mask, dim=(-2, -1))
    return torch.fft.ifftn(changed, dim=(-2, -1)).real.to(x.dtype)


def _strengthened(h: torch.Tensor, by: float) -> torch.Tensor:
    """Half of the channels, more where their mean is high."""
    mean, half = h.mean(1, keepdim=True), h.shape[1] // 2
    low, high = (extreme(mean.flatten(1), 1)[:, None, None, None] for extreme in (torch.amin, torch.amax))
    strength = (by - 1) * (mean - low) / (high - low) + 1
    return torch.cat([h[:, :half] * strength, h[:, half:]], 1)


class FreeUForForge(scripts.Script):
    sorting_priority = 12
    # Of the running request, read by the patch at each call.
    active = True
    part = (0.0, 1.0)

    def title(self) -> str:
        return "FreeU Integrated (SD 1.x, SD 2.x, SDXL)"

    def show(self, is_img2img: bool) -> object:
        return scripts.AlwaysVisible

    def ui(self, is_img2img: bool) -> tuple[Any, ...]:
        with InputAccordion(False, label=self.title(), elem_id=self.elem_id("enable")) as enabled:
            sliders = [
                gr.Slider(label=label, minimum=0, maximum=most, step=0.01, value=value, elem_id=self.elem_id(name))
                for label, (name, value, most) in _SLIDERS.items()
            ]
        self.infotext_fields = [PasteField(enabled, lambda d: d.get("freeu_enabled", False))]
        names = [name for name, _, _ in _SLIDERS.values()]
        self.infotext_fields += [PasteField(x, f"freeu_{name}") for name, x in zip(names, sliders, strict=True)]
        return (enabled, *sliders)

    def denoiser_callback(self, params: CFGDenoiserParams) -> None:
        done = params.sampling_step / (params.total_sampling_steps - 1)
        FreeUForForge.active = self.part[0] <= done <= self.part[1]

    def process_before_every_sampling(self, p: Any, *script_args: Any, **kwargs: Any) -> None:
        enabled, b1, b2, s1, s2, start, end = script_args
        if not enabled:
            return
        FreeUForForge.part = (start, end)
        on_cfg_denoiser(self.denoiser_callback)
        p.sd_model.forge_objects.unet = self._patched(p.sd_model.forge_objects.unet, (b1, s1), (b2, s2))
        values = {
            f"freeu_{name}": value for (name, _, _), value in zip(_SLIDERS.values(), script_args[1:], strict=True)
        }
        p.extra_generation_params.update({"freeu_enabled": True, **values})

    @staticmethod
    def _patched(unet: Any, widest: tuple[float, float], wide: tuple[float, float]) -> Any:
        width = unet.model.diffusion_model.config["model_channels"]
        scales = {width * 4: widest, width * 2: wide}

        def output_block_patch(h: torch.Tensor, skip: torch.Tensor, transformer_options: Any) -> Any:
            scale = scales.get(h.shape[1]) if FreeUForForge.active else None
            if scale is None:
                return h, skip
            return _strengthened(h, scale[0]), fourier_filter(skip, threshold=1, scale=scale[1])

        patched = unet.clone()
        patched.set_model_output_block_patch(output_block_patch)
        return patched

    def postprocess(self, p: Any, processed: Any, *args: Any) -> None:
        remove_current_script_callbacks()
