"""Small random checkpoints and a LoRA, in the formats users have them."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file, save_file

from embedded.distill.export import random_checkpoint

_UNET = "model.diffusion_model."
_TEXT = "cond_stage_model.transformer."
_LAYERS = ("attn1.to_q", "attn1.to_k", "attn2.to_v", "ff.net.0.proj", "in_layers.2", "self_attn.q_proj", "mlp.fc1")


def make_pairs(folder: Path) -> Path:
    """Small random pairs in folder/models, and what goes with them in folders beside it.

    Returns the yaml that describes the pairs.

    tiny_base, tiny_distilled (same text encoder) and tiny_distilled_otherte have no yaml beside them, so that hosts
    exchange them in place as they do users' files; yaml_tiny_base and yaml_tiny_distilled are the same with one.
    yaml_inpaint_base and yaml_inpaint_distilled are the same as inpainting models.
    """
    models, loras = folder / "models", folder / "Lora"
    loras.mkdir(parents=True, exist_ok=True)
    base = random_checkpoint(models / "yaml_tiny_base.safetensors", seed=1)
    distilled = random_checkpoint(models / "yaml_tiny_distilled.safetensors", seed=2, shared_with=base)
    other = random_checkpoint(models / "yaml_tiny_distilled_otherte.safetensors", seed=3)
    share_autoencoder(base, other)
    for path in (base, distilled, other):
        shutil.copy(path, path.with_name(path.name.removeprefix("yaml_")))
    make_inpainting(base, models / "yaml_inpaint_base.safetensors", seed=7)
    make_inpainting(distilled, models / "yaml_inpaint_distilled.safetensors", seed=8)
    make_lora(base, loras / "tiny_lora.safetensors", seed=4)
    make_embedding(base, folder / "embeddings" / "tiny_embedding.safetensors", seed=5)
    (folder / "ControlNet").mkdir(exist_ok=True)
    make_controlnet(base, folder / "ControlNet" / "tiny_controlnet.safetensors", seed=6)
    return base.with_suffix(".yaml")


def make_inpainting(checkpoint: Path, path: Path, seed: int) -> Path:
    """A checkpoint as an inpainting model: mask and picture are five more channels into its U-Net; and its yaml."""
    return _with_a_picture(checkpoint, path, 5, seed, "ldm.models.diffusion.ddpm.LatentDiffusion", "txt")


def make_edit(checkpoint: Path, path: Path, seed: int) -> Path:
    """A checkpoint as an InstructPix2Pix model: the picture is four more channels into its U-Net; and its yaml."""
    return _with_a_picture(checkpoint, path, 4, seed, "modules.models.diffusion.ddpm_edit.LatentDiffusion", "edit")


def _with_a_picture(checkpoint: Path, path: Path, channels: int, seed: int, target: str, key: str) -> Path:
    tensors, first = load_file(checkpoint), f"{_UNET}input_blocks.0.0.weight"
    weight = tensors[first]
    more = torch.randn((weight.shape[0], channels, *weight.shape[2:]), generator=torch.Generator().manual_seed(seed))
    tensors[first] = torch.cat([weight, (more * weight.float().std()).to(weight.dtype)], dim=1)
    save_file(tensors, path)
    config = yaml.safe_load(checkpoint.with_suffix(".yaml").read_text(encoding="utf-8"))
    config["model"]["target"] = target
    params = config["model"]["params"]
    params |= {"conditioning_key": "hybrid", "cond_stage_key": key}
    params["unet_config"]["params"]["in_channels"] = 4 + channels
    path.with_suffix(".yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def make_embedding(checkpoint: Path, path: Path, seed: int) -> Path:
    """A random textual inversion of two vectors, as wide as the checkpoint's text encoder."""
    words = load_file(checkpoint)[_TEXT + "text_model.embeddings.token_embedding.weight"]
    vectors = torch.randn((2, words.shape[1]), generator=torch.Generator().manual_seed(seed)) * words.float().std()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"emb_params": vectors}, path)
    return path


def share_autoencoder(source: Path, target: Path) -> None:
    """Give a checkpoint another's autoencoder: which one decodes is the host's choice and not under test."""
    tensors = {
        **load_file(target),
        **{k: v for k, v in load_file(source).items() if k.startswith("first_stage_model.")},
    }
    save_file(tensors, target)


def make_lora(checkpoint: Path, path: Path, seed: int, rank: int = 4, size: float = 0.05) -> Path:
    """A random LoRA on some U-Net and text encoder layers of a checkpoint, in kohya's key names.

    `size` is the standard deviation of both of its factors.
    """
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for key, weight in load_file(checkpoint).items():
        layer = key.removesuffix(".weight")
        if layer == key or not layer.endswith(_LAYERS) or weight.ndim not in (2, 4):
            continue
        name = _kohya_name(layer)
        inputs, kernel = weight.shape[1], tuple(weight.shape[2:])
        up = torch.randn((weight.shape[0], rank, *(1 for _ in kernel)), generator=generator) * size
        down = torch.randn((rank, inputs, *kernel), generator=generator) * size
        tensors |= {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down, f"{name}.alpha": torch.tensor(4.0)}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"ss_network_module": "networks.lora", "ss_output_name": path.stem})
    return path


# OFT is of A1111 alone.
KINDS = ("locon", "loha", "lokr", "dora", "oft")


def make_network(checkpoint: Path, path: Path, kind: str, seed: int, rank: int = 4) -> Path:
    """A random network of one of LyCORIS's kinds on some layers of a checkpoint, in LyCORIS's key names."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * 0.15

    for key, weight in load_file(checkpoint).items():
        layer = key.removesuffix(".weight")
        if layer == key or not layer.endswith(_LAYERS) or weight.ndim not in (2, 4):
            continue
        outputs, inputs, kernel = weight.shape[0], weight[0].numel(), tuple(weight.shape[2:])
        ones, rest = (1,) * len(kernel), weight.shape[1:]
        if kind == "loha":
            parts = {
                f"hada_w{i}_{side}": draw(*shape) for i in (1, 2) for side, shape in _halves(outputs, inputs, rank)
            }
        elif kind == "lokr":
            parts = {"lokr_w1": draw(2, 2), "lokr_w2_a": draw(outputs // 2, rank), "lokr_w2_b": draw(rank, inputs // 2)}
            if kernel:
                del parts["lokr_w2_a"], parts["lokr_w2_b"]
                parts["lokr_w2"] = draw(outputs // 2, weight.shape[1] // 2, *kernel)
        elif kind == "oft":
            parts = {"oft_blocks": draw(2, outputs // 2, outputs // 2)}
        else:
            parts = {"lora_up.weight": draw(outputs, rank, *ones), "lora_down.weight": draw(rank, *rest)}
        if kind == "dora":
            columns = weight.float().transpose(0, 1).flatten(1).norm(dim=1).reshape(1, -1, *ones)
            parts["dora_scale"] = columns * (1 + draw(*columns.shape))
        # OFT's is no scale but how far it may turn, for each output.
        parts["alpha"] = torch.tensor(0.01 if kind == "oft" else float(rank))
        tensors |= {f"{_kohya_name(layer)}.{part}": tensor for part, tensor in parts.items()}
    save_file(tensors, path, metadata={"ss_network_module": "lycoris.kohya", "ss_output_name": path.stem})
    return path


def _halves(outputs: int, inputs: int, rank: int) -> tuple[tuple[str, tuple[int, int]], ...]:
    return ("a", (outputs, rank)), ("b", (rank, inputs))


def make_controlnet(checkpoint: Path, path: Path, seed: int) -> Path:
    """A ControlNet with a checkpoint's encoder and random control, in the key names of the original ControlNets."""
    generator = torch.Generator().manual_seed(seed)
    unet = {k.removeprefix(_UNET): v for k, v in load_file(checkpoint).items() if k.startswith(_UNET)}
    tensors = {k: v for k, v in unet.items() if k.startswith(("time_embed.", "input_blocks.", "middle_block."))}

    def convolution(name: str, outputs: int, inputs: int, kernel: int) -> None:
        weight = torch.randn((outputs, inputs, kernel, kernel), generator=generator) / (inputs * kernel**2) ** 0.5
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = weight, torch.zeros(outputs)

    width = unet["input_blocks.0.0.weight"].shape[0]
    hint = (3, 16, 16, 32, 32, 96, 96, 256, width)
    for i, (inputs, outputs) in enumerate(pairwise(hint)):
        convolution(f"input_hint_block.{2 * i}", outputs, inputs, 3)
    blocks = sorted({int(k.split(".")[1]) for k in tensors if k.startswith("input_blocks.")})
    for i in blocks:
        convolution(f"zero_convs.{i}.0", *[_channels(tensors, f"input_blocks.{i}.")] * 2, 1)
    convolution("middle_block_out.0", *[_channels(tensors, "middle_block.")] * 2, 1)
    save_file({f"control_model.{k}": v.half().contiguous() for k, v in tensors.items()}, path)
    return path


def _channels(tensors: dict[str, torch.Tensor], block: str) -> int:
    """Channels that leave a block: its only convolution's (first, downsampling) or its residual block's last."""
    endings = ("0.out_layers.3.bias", "0.op.bias", "0.bias")
    return next(tensors[block + ending].shape[0] for ending in endings if block + ending in tensors)


def _kohya_name(layer: str) -> str:
    """ldm's layer name as kohya writes it; the hosts accept ldm's U-Net block names under the lora_unet prefix."""
    if layer.startswith(_TEXT):
        return "lora_te_" + layer.removeprefix(_TEXT).replace(".", "_")
    return "lora_unet_" + layer.removeprefix(_UNET).replace(".", "_")
