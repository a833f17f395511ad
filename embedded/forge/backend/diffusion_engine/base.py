"""A loaded checkpoint: its parts' patchers three times, as loaded, with the prompt's networks, and as this pass has
them.
"""

from __future__ import annotations

from typing import Any

import torch


class ForgeObjects:
    """The patchers in use. Exchanging one here changes what runs from the next step on."""

    def __init__(self, unet: Any, clip: Any, vae: Any, clipvision: Any) -> None:
        self.unet, self.clip, self.vae, self.clipvision = unet, clip, vae, clipvision

    def shallow_copy(self) -> ForgeObjects:
        return ForgeObjects(self.unet, self.clip, self.vae, self.clipvision)


class ForgeDiffusionEngine:
    """The loader adds: extra_generation_params, comments, sd_checkpoint_info, filename, sd_model_hash."""

    extra_generation_params: dict[str, Any]
    comments: list[str]
    sd_checkpoint_info: Any
    filename: str
    sd_model_hash: str | None
    alphas_cumprod: torch.Tensor

    def __init__(self, estimated_config: Any, huggingface_components: dict[str, Any]) -> None:
        del huggingface_components
        self.model_config = estimated_config
        self.is_inpaint: bool = estimated_config.inpaint_model()
        self.current_lora_hash = str([])
        self.tiling_enabled = self.use_distilled_cfg_scale = False
        self.is_sd1 = self.is_sd2 = self.is_sdxl = self.is_sd3 = False
        self.first_stage_model = self.cond_stage_model = None

    def hold(self, objects: ForgeObjects) -> None:
        self.forge_objects = objects
        self.forge_objects_original = objects.shallow_copy()
        self.forge_objects_after_applying_lora = objects.shallow_copy()

    def set_clip_skip(self, clip_skip: int) -> None:
        raise NotImplementedError

    def get_first_stage_encoding(self, x: Any) -> Any:
        return x

    def is_webui_legacy_model(self) -> bool:
        return self.is_sd1 or self.is_sd2 or self.is_sdxl or self.is_sd3
