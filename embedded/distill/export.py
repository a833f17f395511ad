"""Models as hosts read them: .safetensors in the SD 1.x layout, the ldm .yaml beside, the text folder.

Of a pair the base is a whole checkpoint. Of the distilled model there is the U-Net alone: the rest is the base's.
"""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from embedded.monsters import VOCABULARY
from embedded.networks import LatentDiffusion, UNetModel, load_checkpoint
from embedded.networks.checkpoint import POSITION_IDS, load_weights
from embedded.networks.noise import alphas_cumprod

from .recipe import Networks
from .tokenizer import write_tokenizer

TEXT_FOLDER = "clip"
UNET_PREFIX = "model.diffusion_model."
PAIR_NAMES = ("monsters_base", "monsters_distilled")
EMBEDDED_PAIR = Path(__file__).resolve().parent.parent / "pair"


def write_text_folder(folder: Path, networks: Networks) -> Path:
    """The tokenizer and config.json of the text encoder, in ``folder``; returns it."""
    size = write_tokenizer(folder, VOCABULARY)
    (folder / "config.json").write_text(json.dumps(networks.text_config(size), indent=1) + "\n", encoding="utf-8")
    return folder


def build_model(networks: Networks, folder: Path, scale_factor: float = 1.0) -> LatentDiffusion:
    """An untrained model; the text folder is written into ``folder`` where it is missing."""
    if not (folder / TEXT_FOLDER / "config.json").is_file():
        write_text_folder(folder / TEXT_FOLDER, networks)
    return LatentDiffusion(networks.model_params(scale_factor, TEXT_FOLDER), folder)


def write_yaml(path: Path, params: dict[str, Any]) -> None:
    config = {"model": {"base_learning_rate": 1.0e-04, "target": "ldm.models.diffusion.ddpm.LatentDiffusion"}}
    config["model"]["params"] = params  # type: ignore[assignment]
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def state_for_file(model: LatentDiffusion, dtype: torch.dtype) -> dict[str, Tensor]:
    """Tensors under the published names, floats in ``dtype``."""
    state = {name: value.detach().to(dtype).contiguous() for name, value in model.state_dict().items()}
    positions = model.cond_stage_model.transformer.config.max_position_embeddings
    return {**state, POSITION_IDS: torch.arange(positions)[None]}


def export_checkpoint(
    model: LatentDiffusion,
    networks: Networks,
    path: Path,
    dtype: torch.dtype = torch.float16,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Writes ``path`` (.safetensors), the yaml of the same stem and the text folder beside it; returns ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not (path.parent / TEXT_FOLDER / "config.json").is_file():
        write_text_folder(path.parent / TEXT_FOLDER, networks)
    save_file(state_for_file(model, dtype), str(path), metadata={"format": "pt", **(metadata or {})})
    write_yaml(path.with_suffix(".yaml"), networks.model_params(model.scale_factor, TEXT_FOLDER))
    return path


def export_unet(
    model: LatentDiffusion, path: Path, dtype: torch.dtype = torch.float16, metadata: dict[str, str] | None = None
) -> Path:
    """Writes the U-Net alone to ``path`` (.safetensors), under its names in a checkpoint; returns ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value for name, value in state_for_file(model, dtype).items() if name.startswith(UNET_PREFIX)}
    save_file(state, str(path), metadata={"format": "pt", **(metadata or {})})
    return path


def load_pair(folder: Path) -> tuple[LatentDiffusion, LatentDiffusion]:
    """Base and distilled model of a pair, each whole."""
    base, unet = (folder / f"{name}.safetensors" for name in PAIR_NAMES)
    model = load_checkpoint(base)
    distilled = copy.deepcopy(model)
    load_weights(distilled, {**model.state_dict(), **load_file(str(unet))})
    return model, distilled


@torch.no_grad()
def fit_output(unet: UNetModel, generator: torch.Generator, batch: int = 16, size: int = 16) -> None:
    """Fits the last convolution by least squares to predict the noise on smooth latents.

    With it, sampling with random weights stays in the range of trained models, at every noise level.
    """
    smooth = torch.randn(batch, 4, size // 4, size // 4, generator=generator)
    clean = nn.functional.interpolate(smooth, size=(size, size), mode="bilinear")
    eps = torch.randn(clean.shape, generator=generator)
    timesteps = torch.randint(0, 1000, (batch,), generator=generator)
    power = alphas_cumprod()[timesteps].float()[:, None, None, None]
    noisy = power.sqrt() * clean + (1 - power).sqrt() * eps
    context = torch.randn(batch, 77, unet.context_dim, generator=generator)
    features: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Any) -> None:
        features.append(output)

    hook = unet.out[1].register_forward_hook(keep)
    y = torch.zeros(batch, unet.label_emb[0][0].in_features) if unet.num_classes else None  # type: ignore[index, union-attr]
    unet(noisy, timesteps, context, y)
    hook.remove()
    columns = nn.functional.unfold(features[0], 3, padding=1).transpose(1, 2).flatten(0, 1).double()
    columns = torch.cat([columns, columns.new_ones(len(columns), 1)], dim=1)
    target = eps.flatten(2).transpose(1, 2).flatten(0, 1).double()
    gram = columns.T @ columns + 1e-2 * len(columns) * torch.eye(columns.shape[1], dtype=torch.float64)
    solution = torch.linalg.solve(gram, columns.T @ target).float()
    unet.out[2].weight.copy_(solution[:-1].T.reshape(unet.out[2].weight.shape))
    unet.out[2].bias.copy_(solution[-1])


def _randomise(module: nn.Module, generator: torch.Generator) -> None:
    """Random weights of ordinary size for every parameter, zero-initialised ones included; norms keep ones."""
    with torch.no_grad():
        for name, value in module.named_parameters():
            if value.ndim > 1:
                fan_in = value[0].numel()
                value.copy_(torch.randn(value.shape, generator=generator) * fan_in**-0.5)
            elif name.endswith("bias"):
                value.copy_(torch.randn(value.shape, generator=generator) * 0.02)


def random_checkpoint(
    path: str | Path,
    seed: int,
    networks: Networks | None = None,
    dtype: torch.dtype = torch.float16,
    shared_with: str | Path | None = None,
) -> Path:
    """A random-weight checkpoint in the pair's layout at ``path`` (.safetensors), with its yaml and text folder.

    The U-Net's last convolution is fitted so that sampling stays in range. ``shared_with`` names another checkpoint
    whose text encoder and autoencoder are taken over, as a base and its distilled model share them.
    """
    networks, path = networks or Networks(unet_channels=32, text_width=64, text_heads=2), Path(path)
    generator = torch.Generator().manual_seed(seed)
    model = build_model(networks, path.parent, scale_factor=0.5)
    _randomise(model, generator)
    fit_output(model.model.diffusion_model, generator)
    if shared_with is not None:
        other = load_file(str(shared_with))
        rest = {name: value for name, value in other.items() if not name.startswith("model.")}
        model.load_state_dict(rest, strict=False)
    return export_checkpoint(model, networks, path, dtype)


def install_pair(webui: Path, source: Path = EMBEDDED_PAIR) -> list[Path]:
    """Puts the pair into a WebUI's ``models/Stable-diffusion`` and returns the checkpoints' paths there.

    The distilled model becomes a whole checkpoint with what is the base's, so that the WebUI can load it as its own.
    A host's text encoder is found by absolute path, so the yaml beside each copy names the copied text folder.
    Raises FileNotFoundError where ``webui`` has no models folder.
    """
    models = webui.resolve() / "models" / "Stable-diffusion"
    if not models.is_dir():
        raise FileNotFoundError(f"{models} is not a folder; give the directory of a WebUI that has been started once.")
    text = webui.resolve() / "models" / "monsters-clip"
    shutil.copytree(source / TEXT_FOLDER, text, dirs_exist_ok=True)
    base, unet = (source / f"{name}.safetensors" for name in PAIR_NAMES)
    written = [Path(shutil.copy2(base, models)), models / unet.name]
    opened: Any = safe_open(str(unet), framework="pt")  # the library's types leave out what it can do
    with opened:
        metadata = opened.metadata()
    save_file({**load_file(str(base)), **load_file(str(unet))}, str(written[1]), metadata=metadata)
    config = yaml.safe_load(base.with_suffix(".yaml").read_text(encoding="utf-8"))
    config["model"]["params"]["cond_stage_config"]["params"]["version"] = str(text)
    for path in written:
        path.with_suffix(".yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return written
