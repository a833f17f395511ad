"""Names of LoRA tensors (kohya's, after the layers' names in diffusers) to names of layers in ldm's networks."""

from __future__ import annotations

import re
from collections.abc import Callable

_RESNET = {
    "conv1": "in_layers_2",
    "conv2": "out_layers_3",
    "norm1": "in_layers_0",
    "norm2": "out_layers_0",
    "time_emb_proj": "emb_layers_1",
    "conv_shortcut": "skip_connection",
}


def _suffix(kind: str, name: str) -> str:
    return _RESNET.get(name, name) if kind == "resnets" else name


def _place(kind: str) -> int:
    return 1 if kind == "attentions" else 0


_RULES: list[tuple[str, Callable[..., str]]] = [
    (r"lora_unet_conv_in(.*)", lambda rest: f"diffusion_model_input_blocks_0_0{rest}"),
    (r"lora_unet_conv_out(.*)", lambda rest: f"diffusion_model_out_2{rest}"),
    (
        r"lora_unet_time_embedding_linear_(\d+)(.*)",
        lambda n, rest: f"diffusion_model_time_embed_{int(n) * 2 - 2}{rest}",
    ),
    (
        r"lora_unet_down_blocks_(\d+)_(attentions|resnets)_(\d+)_(.+)",
        lambda level, kind, i, name: (
            f"diffusion_model_input_blocks_{1 + int(level) * 3 + int(i)}_{_place(kind)}_{_suffix(kind, name)}"
        ),
    ),
    (
        r"lora_unet_mid_block_(attentions|resnets)_(\d+)_(.+)",
        lambda kind, i, name: (
            f"diffusion_model_middle_block_{1 if kind == 'attentions' else int(i) * 2}_{_suffix(kind, name)}"
        ),
    ),
    (
        r"lora_unet_up_blocks_(\d+)_(attentions|resnets)_(\d+)_(.+)",
        lambda level, kind, i, name: (
            f"diffusion_model_output_blocks_{int(level) * 3 + int(i)}_{_place(kind)}_{_suffix(kind, name)}"
        ),
    ),
    (
        r"lora_unet_down_blocks_(\d+)_downsamplers_0_conv",
        lambda level: f"diffusion_model_input_blocks_{3 + int(level) * 3}_0_op",
    ),
    (
        r"lora_unet_up_blocks_(\d+)_upsamplers_0_conv",
        lambda level: f"diffusion_model_output_blocks_{2 + int(level) * 3}_{2 if int(level) > 0 else 1}_conv",
    ),
    (
        r"lora_te_text_model_encoder_layers_(\d+)_(.+)",
        lambda i, name: f"transformer_text_model_encoder_layers_{i}_{name}",
    ),
]


def convert_diffusers_name_to_compvis(key: str, is_sd2: bool = False) -> str:
    """The layer's name as `network_layer_name` has it; the key itself where no rule knows it. Two residual blocks a
    level, as in all published Stable Diffusion 1.x files.
    """
    del is_sd2
    for pattern, make in _RULES:
        match = re.match(pattern, key)
        if match:
            return make(*match.groups())
    return key
