"""From a file to a model: split by component, each component made and filled, and all of them put together."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from modules import ldm_config

from backend import guess as guessing
from backend import memory_management
from backend.args import dynamic_args
from backend.diffusion_engine.sd15 import StableDiffusion
from backend.nn.clip import IntegratedCLIP
from backend.nn.unet import IntegratedUNet2DConditionModel
from backend.nn.vae import IntegratedAutoencoderKL
from backend.operations import make_castable
from backend.utils import load_torch_file

Tensors = dict[str, torch.Tensor]
dir_path = os.path.dirname(os.path.abspath(__file__))
_FEWEST_TENSORS = 16
_LOW_BITS = (torch.float8_e4m3fn, torch.float8_e5m2)
_NOT_IN_EVERY_FILE = ("text_projection", "position_ids", "logit_scale")


def load_huggingface_component(
    guess: Any, component_name: str, lib_name: str, cls_name: str, repo_path: str, state_dict: Any
) -> Any:
    """One component, filled with its tensors; None for those that a host does without."""
    if lib_name not in ("transformers", "diffusers") or component_name in ("feature_extractor", "safety_checker"):
        return None
    if component_name == "scheduler":
        kind = getattr(importlib.import_module(lib_name), cls_name)
        return kind.from_pretrained(os.path.join(repo_path, component_name))
    if component_name.startswith("tokenizer"):
        from transformers import CLIPTokenizer

        return CLIPTokenizer.from_pretrained(guess.text_encoder_folder)
    makers = {"AutoencoderKL": _vae, "CLIPTextModel": _text_encoder, "UNet2DConditionModel": _unet}
    if cls_name not in makers:
        print(f"Left out: {component_name} = {lib_name}.{cls_name}")
        return None
    assert isinstance(state_dict, dict), f"There are no tensors for the {component_name}!"
    assert len(state_dict) > _FEWEST_TENSORS, f"There are too few tensors for the {component_name}: {len(state_dict)}"
    return makers[cls_name](guess, state_dict)


def _fill(module: torch.nn.Module, tensors: dict[str, torch.Tensor], may_lack: tuple[str, ...] = ()) -> None:
    """What a file lacks keeps what it was made with, and is said to be missing."""
    missing = [x for x in module.load_state_dict(tensors, strict=False).missing_keys if not x.endswith("position_ids")]
    said = [name for name in missing if not any(part in name for part in may_lack)]
    if said:
        print(f"{type(module).__name__} lacks {len(said)} tensors: {', '.join(said[:3])}")


def _vae(guess: Any, tensors: dict[str, torch.Tensor]) -> IntegratedAutoencoderKL:
    config = guess.vae_config
    with ldm_config.without_initialisation():
        module = IntegratedAutoencoderKL(config["ddconfig"], config["embed_dim"], guess.scale_factor)
    _fill(module, tensors)
    return module.to(memory_management.vae_dtype()).eval().requires_grad_(False)


def _text_encoder(guess: Any, tensors: dict[str, torch.Tensor]) -> IntegratedCLIP:
    from transformers import CLIPTextConfig, CLIPTextModel
    from transformers.modeling_utils import no_init_weights

    # Without a draw from torch's global generator, which goes on with the request that loads this.
    with no_init_weights(), ldm_config.without_initialisation():
        module = IntegratedCLIP(CLIPTextModel, CLIPTextConfig.from_pretrained(guess.text_encoder_folder), True)
    torch.nn.init.zeros_(module.transformer.text_projection.weight)  # pyright: ignore[reportArgumentType]
    _fill(module, tensors, _NOT_IN_EVERY_FILE)
    make_castable(module, manual_cast=True)
    return module.to(memory_management.text_encoder_dtype()).eval().requires_grad_(False)


def _storage_dtype(tensors: dict[str, torch.Tensor], parameters: int) -> torch.dtype:
    chosen = dynamic_args.get("forge_unet_storage_dtype")
    if chosen is not None:
        return chosen
    in_file = memory_management.state_dict_dtype(tensors)
    return in_file if in_file in _LOW_BITS else memory_management.unet_dtype(model_params=parameters)


def _unet(guess: Any, tensors: dict[str, torch.Tensor]) -> Any:
    parameters = memory_management.state_dict_parameters(tensors)
    storage = _storage_dtype(tensors, parameters)
    load_device = memory_management.get_torch_device()
    computation = memory_management.get_computation_dtype(load_device, parameters, guess.supported_inference_dtypes)
    with ldm_config.without_initialisation():
        module: Any = IntegratedUNet2DConditionModel(**guess.unet_config)
    make_castable(module, manual_cast=storage != computation)
    _fill(module, tensors)
    initial = memory_management.unet_inital_load_device(parameters, storage)
    module.to(device=initial, dtype=storage).eval().requires_grad_(False)
    module.storage_dtype, module.computation_dtype = storage, computation
    module.load_device, module.initial_device = load_device, initial
    module.offload_device = memory_management.unet_offload_device()
    return module


def _under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def preprocess_state_dict(sd: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A file of a U-Net alone, without prefix, is given it."""
    if any(name.startswith("model.diffusion_model") for name in sd):
        return sd
    return {f"model.diffusion_model.{name}": tensor for name, tensor in sd.items()}


def replace_state_dict(
    sd: dict[str, torch.Tensor], asd: dict[str, torch.Tensor], guess: Any
) -> dict[str, torch.Tensor]:
    """The checkpoint's tensors with those of a file of a VAE or a text encoder in their places."""
    vae, text = guess.vae_key_prefix[0], guess.text_encoder_key_prefix[0] + "transformer."
    is_vae = any(name.startswith("decoder.") for name in asd)
    prefix = vae if is_vae else text
    bare = {name.removeprefix(prefix): tensor for name, tensor in asd.items()}
    return {**sd, **{prefix + name: tensor for name, tensor in bare.items()}}


def split_state_dict(
    sd: str, additional_state_dicts: list[str] | None = None
) -> tuple[dict[str, dict[str, torch.Tensor]], Any]:
    """(tensors by component, what the model is) of a file, with further files' parts in place of its own."""
    tensors = preprocess_state_dict(load_torch_file(sd))
    guess = guessing.guess(tensors, sd)
    for further in additional_state_dicts or []:
        tensors = replace_state_dict(tensors, load_torch_file(further), guess)
    text = guess.process_clip_state_dict(tensors)
    split = {
        guess.unet_target: _under(tensors, guess.unet_key_prefix[0]),
        guess.vae_target: _under(tensors, guess.vae_key_prefix[0]),
    }
    split |= {component: _under(text, f"{name}.") for name, component in guess.clip_target.items()}
    return split, guess


@torch.inference_mode()
def forge_loader(sd: str, additional_state_dicts: list[str] | None = None) -> StableDiffusion:
    """The whole model of a file."""
    try:
        split, guess = split_state_dict(sd, additional_state_dicts)
    except Exception as error:
        raise ValueError("Failed to recognize model type!") from error
    folder = os.path.join(dir_path, "huggingface", guess.huggingface_repo)
    listed = json.loads((Path(folder) / "model_index.json").read_text(encoding="utf8"))
    components = {}
    for name, kind in listed.items():
        if isinstance(kind, list):
            component = load_huggingface_component(guess, name, *kind, folder, split.pop(name, None))
            if component is not None:
                components[name] = component
    v = guess.model_type is guessing.ModelType.V_PREDICTION
    components["scheduler"].register_to_config(prediction_type="v_prediction" if v else "epsilon")
    return StableDiffusion(estimated_config=guess, huggingface_components=components)
