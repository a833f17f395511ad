"""A student as a LoRA: peft trains it, and it is written under the names that hosts and kohya's tools read."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

_ADAPTER = "student"
# Attention, feed-forward, convolutions and time embedding, as DMD2's and LCM's students have them.
_TARGETS = (
    r".*\.(to_q|to_k|to_v|to_out\.0|proj_in|proj_out|ff\.net\.0\.proj|ff\.net\.2"
    r"|conv1|conv2|conv_shortcut|downsamplers\.0\.conv|upsamplers\.0\.conv|time_emb_proj)"
)


def add_lora(unet: UNet2DConditionModel, rank: int, alpha: float, seed: int) -> None:
    """Give a U-Net a LoRA that changes nothing yet; it alone is trained, in float32."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config: Any = LoraConfig(r=rank, lora_alpha=alpha, init_lora_weights=True, target_modules=_TARGETS)  # pyright: ignore[reportArgumentType]
        unet.add_adapter(config, _ADAPTER)
    for parameter in unet.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def lora_tensors(unet: UNet2DConditionModel) -> dict[str, Tensor]:
    """Its LoRA under kohya's names: `lora_unet_<diffusers' layer with _ for .>.lora_down.weight` and so on."""
    tensors: dict[str, Tensor] = {}
    for name, own in _layers(unet).items():
        place = f"lora_unet_{name.replace('.', '_')}"
        tensors[f"{place}.lora_down.weight"] = own.lora_A[_ADAPTER].weight.detach()
        tensors[f"{place}.lora_up.weight"] = own.lora_B[_ADAPTER].weight.detach()
        tensors[f"{place}.alpha"] = torch.tensor(float(own.lora_alpha[_ADAPTER]))
    return tensors


def _layers(unet: nn.Module) -> dict[str, Any]:
    return {name: module for name, module in unet.named_modules() if isinstance(module, LoraLayer)}
