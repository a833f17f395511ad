"""One distilled model, and one LoRA, in every form in which users have them; written by diffusers' own savers.

For a real WebUI: `python -m tests.e2e.forms BASE DISTILLED YAML CHECKPOINTS UNETS LORAS`, where BASE and DISTILLED are
`NAME_base.safetensors` and `NAME_distilled.safetensors`, and YAML describes both.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import yaml
from diffusers import UNet2DConditionModel
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, create_unet_diffusers_config_from_ldm
from safetensors.torch import load_file, save_file

from tests.e2e.checkpoints import make_lora

PREFIX = "model.diffusion_model."

# What comes after NAME_: how the dropdown calls it, and how else a client may.
UNET_FORMS: dict[str, tuple[str, ...]] = {
    "form_unet.safetensors": ("form_unet",),
    "form_bare.safetensors": ("form_bare.safetensors",),
    "U-Net: form_bare.pt": ("form_bare.pt", "U-Net: form_bare"),
    "U-Net: form_full.bin": ("form_full", "u-net: form_full.bin"),
    "U-Net: form_prefixed.bin": ("form_prefixed",),
    "form_ema.ckpt": ("form_ema",),
    "U-Net: form_diffusers/diffusion_pytorch_model.safetensors": ("form_diffusers/diffusion_pytorch_model",),
    "U-Net: form_diffusers_bin/unet/diffusion_pytorch_model.bin": (),
}
LORA_FORMS = ("form_lora", "form_lora_diffusers", "form_lora_pickled")


def diffusers_unet(checkpoint: Path, description: Path) -> UNet2DConditionModel:
    """A checkpoint's U-Net in diffusers, by diffusers' own conversion of names and configuration."""
    original = yaml.safe_load(description.read_text())
    parameters = original["model"]["params"]
    parameters[next(key for key in parameters if key in ("unet_config", "network_config"))]["params"].setdefault(
        "legacy", False
    )
    tensors = load_file(checkpoint)
    model = UNet2DConditionModel.from_config(create_unet_diffusers_config_from_ldm(original, tensors, image_size=64))
    model.load_state_dict(convert_ldm_unet_checkpoint(tensors, dict(model.config)))
    return model.to(next(t.dtype for k, t in tensors.items() if k.startswith(PREFIX))).eval()


def make_forms(base: Path, distilled: Path, description: Path, checkpoints: Path, unets: Path, loras: Path) -> None:
    """Everything in UNET_FORMS and LORA_FORMS, under the pair's name."""
    name = distilled.stem.removesuffix("_distilled")
    unet = {key: tensor for key, tensor in load_file(distilled).items() if key.startswith(PREFIX)}
    bare = {key.removeprefix(PREFIX): tensor for key, tensor in unet.items()}
    save_file(unet, checkpoints / f"{name}_form_unet.safetensors")
    save_file(bare, checkpoints / f"{name}_form_bare.safetensors")
    torch.save(bare, checkpoints / f"{name}_form_bare.pt")
    torch.save({"state_dict": {**load_file(distilled)}, "global_step": 3}, checkpoints / f"{name}_form_full.bin")
    torch.save({"state_dict": unet | _ema(unet)}, checkpoints / f"{name}_form_ema.ckpt")
    model = diffusers_unet(distilled, description)
    torch.save({f"unet.{key}": t for key, t in model.state_dict().items()}, checkpoints / f"{name}_form_prefixed.bin")
    model.save_pretrained(unets / f"{name}_form_diffusers")
    model.save_pretrained(unets / f"{name}_form_diffusers_bin" / "unet", safe_serialization=False)
    kohya = make_lora(base, loras / f"{name}_form_lora.safetensors", seed=6, size=0.2)
    make_lora_twins(kohya, dict(model.config), loras, unet)


def _ema(unet: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Another set under the names of ldm's LitEma; hosts do not use it where there is the first."""
    return {f"model_ema.{key.removeprefix('model.').replace('.', '')}": t + 1 for key, t in unet.items()}


def make_lora_twins(kohya: Path, config: dict[str, object], loras: Path, unet: dict[str, torch.Tensor]) -> None:
    """The same LoRA as diffusers saves it, and as a pickle with kohya's names."""
    tensors = load_file(kohya)
    torch.save(tensors, loras / f"{kohya.stem}_pickled.pt")
    markers = dict(unet)
    by_tensor = {id(tensor): key for key, tensor in markers.items()}
    theirs = {
        "lora_unet_" + by_tensor[id(t)].removeprefix(PREFIX).removesuffix(".weight").replace(".", "_"): key
        for key, t in convert_ldm_unet_checkpoint(dict(markers), config).items()
    }
    unet_layers, text_layers = {}, {}
    for key, tensor in tensors.items():
        layer, _, part = key.partition(".")
        side = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight"}.get(part)
        if side is None:  # alpha equals the rank, as diffusers takes it
            continue
        if layer in theirs:
            unet_layers[f"{theirs[layer].removesuffix('.weight')}.{side}"] = tensor
        else:
            text_layers[f"{_text_layer(layer)}.{side}"] = tensor
    folder = loras / f"{kohya.stem}_diffusers_folder"
    StableDiffusionLoraLoaderMixin.save_lora_weights(folder, unet_layers, text_layers)
    (folder / "pytorch_lora_weights.safetensors").replace(loras / f"{kohya.stem}_diffusers.safetensors")
    folder.rmdir()


def _text_layer(layer: str) -> str:
    """kohya's name of a CLIP layer with its dots: `text_model.encoder.layers.0.self_attn.q_proj`."""
    number, _, rest = layer.removeprefix("lora_te_text_model_encoder_layers_").partition("_")
    for block in ("self_attn", "mlp"):
        rest = rest.replace(f"{block}_", f"{block}.")
    return f"text_model.encoder.layers.{number}.{rest}"


if __name__ == "__main__":
    make_forms(*(Path(argument) for argument in sys.argv[1:]))
