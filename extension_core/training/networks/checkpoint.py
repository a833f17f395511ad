"""A checkpoint as hosts have it, opened by the project's own reader: nothing in the file is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from diffusers import UNet2DConditionModel
from torch import Tensor

from extension_core.errors import DiversityError
from extension_core.training.networks.text import (
    TextEncoder,
    TextEncoders,
    clip_model,
    open_clip_model,
    pad_of,
    read_tokenizer,
)
from extension_core.training.networks.unet import build_unet
from extension_core.training.networks.vae import PREFIX as VAE_PREFIX
from extension_core.training.networks.vae import LatentCodec, build_vae
from extension_core.training.noise_schedule import NoiseSchedule, Prediction
from extension_core.weights.architectures import UNKNOWN
from extension_core.weights.architectures import architecture as architecture_of
from extension_core.weights.compatibility import check_by_itself, kind_of, prediction_type
from extension_core.weights.lora_file import is_lora
from extension_core.weights.naming import TEXT_PREFIXES, UNET_PREFIX, file_keys
from extension_core.weights.reader import Header, open_tensors, read_header

Architecture = Literal["sd1", "sd2", "sdxl"]

_SCALES: dict[Architecture, float] = {"sd1": 0.18215, "sd2": 0.18215, "sdxl": 0.13025}
_SD1_HEADS, _HEAD = 8, 64  # heads at every width of SD 1.x; channels of a head of SD 2.x and SDXL
_CLIP = {"sd1": "cond_stage_model.transformer.", "sdxl": "conditioner.embedders.0.transformer."}
_OPEN_CLIP = {"sd2": "cond_stage_model.model.", "sdxl": "conditioner.embedders.1.model."}
_LABELS = {"SD 1.x": "sd1", "SD 2.x": "sd2", "SDXL": "sdxl"}


@dataclass(frozen=True)
class Checkpoint:
    """A base that can be distilled; its tensors are read when a network is asked for.

    Args:
        description: what the yaml beside it says, {} without one.
        tokenizer: folder, none for CLIP's own.
    """

    header: Header
    architecture: Architecture
    prediction: Prediction
    schedule: NoiseSchedule
    description: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tokenizer: Path | None = None

    @property
    def name(self) -> str:
        """Of the file."""
        return self.header.path.name

    @cached_property
    def unet_names(self) -> list[str]:
        """Canonical names of its U-Net's tensors, with prefix."""
        return [name for name in file_keys(self.header.shapes) if name.startswith(UNET_PREFIX)]

    def unet(self, dtype: torch.dtype = torch.float32) -> UNet2DConditionModel:
        """A new U-Net that is not trained."""
        tensors = {name.removeprefix(UNET_PREFIX): tensor for name, tensor in self._read(UNET_PREFIX).items()}
        return build_unet(tensors, self.name, self._heads, dtype)

    def text_encoders(self) -> TextEncoders:
        """New text encoders, in float32."""
        tokenizer = read_tokenizer(self.tokenizer)
        tensors = self._read(*TEXT_PREFIXES)
        models: list[tuple[Any, bool, bool]] = []
        try:
            if (prefix := _CLIP.get(self.architecture)) is not None:
                penultimate = self.architecture == "sdxl"
                models.append(
                    (clip_model(tensors, prefix, self.tokenizer, torch.float32), penultimate, not penultimate)
                )
            if (prefix := _OPEN_CLIP.get(self.architecture)) is not None:
                projects = self.architecture == "sdxl"
                models.append((open_clip_model(tensors, prefix, projects, torch.float32), True, not projects))
        except (KeyError, ValueError, RuntimeError, IndexError) as error:
            raise DiversityError(
                f"'{self.name}' holds no text encoder that can be used here; choose a whole checkpoint, with text "
                "encoders and autoencoder."
            ) from error
        pads = [pad_of(self.architecture, index) for index in range(len(models))]
        return TextEncoders(
            [TextEncoder(*model[:1], tokenizer, *model[1:], pad) for model, pad in zip(models, pads, strict=True)]
        )

    def vae(self) -> LatentCodec:
        """A new autoencoder."""
        scale = self.description.get("scale_factor") or _SCALES[self.architecture]
        return build_vae(self._read(VAE_PREFIX), self.name, float(scale))

    def _heads(self, channels: int) -> int:
        told = self.description.get("unet_config", {}).get("params", {})
        if (heads := told.get("num_heads", -1)) > 0:
            return heads
        if (of_each := told.get("num_head_channels", -1)) > 0:
            return channels // of_each
        return _SD1_HEADS if self.architecture == "sd1" else channels // _HEAD

    def _read(self, *prefixes: str) -> dict[str, Tensor]:
        """Tensors by canonical name, prefix included."""
        names = {name: key for name, key in file_keys(self.header.shapes).items() if name.startswith(prefixes)}
        with open_tensors(self.header) as source:
            return {name: source.get(key) for name, key in names.items()}


def open_checkpoint(
    path: Path, description: Path | None = None, prediction: Prediction | None = None, tokenizer: Path | None = None
) -> Checkpoint:
    """Open a checkpoint.

    Args:
        description: its yaml, where that does not lie beside it.
        prediction: what its output means, where the file does not say.
        tokenizer: a folder; without it the yaml's, or CLIP's own.

    Raises:
        DiversityError: it cannot be read, or it is nothing that can be distilled here.
    """
    header = read_header(path)
    yaml_path = description or path.with_suffix(".yaml")
    text = _text(yaml_path, wanted=description is not None)
    told = _parameters(text, yaml_path)
    kind = _architecture(header, told)
    said = prediction_type(header.metadata, header.shapes, text)
    predicts: Prediction = prediction or ("v" if said == "v" else "eps")
    schedule = NoiseSchedule.stable_diffusion()
    if "ztsnr" in header.shapes:
        schedule = schedule.with_zero_terminal_snr()
    return Checkpoint(header, kind, predicts, schedule, told, tokenizer or _tokenizer(told, yaml_path))


def _text(path: Path, wanted: bool) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if wanted:
            raise DiversityError(f"{path} is not there; name the checkpoint's yaml in base.description.") from None
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DiversityError(
            f"{path} cannot be read as a yaml; mend it or name another in base.description."
        ) from error


def _parameters(text: str | None, path: Path) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        return yaml.safe_load(text)["model"]["params"]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise DiversityError(f"{path} describes no model; mend it or name another in base.description.") from error


def _architecture(header: Header, told: Mapping[str, Any]) -> Architecture:
    name = header.path.name
    if is_lora(header.shapes):
        raise DiversityError(f"'{name}' is a LoRA, and a base is wanted; choose the checkpoint that it is for.")
    shapes = {canonical: header.shapes[key] for canonical, key in file_keys(header.shapes).items()}
    unet = {canonical: shape for canonical, shape in shapes.items() if canonical.startswith(UNET_PREFIX)}
    first = unet.get(f"{UNET_PREFIX}input_blocks.0.0.weight")
    if first is None:
        raise DiversityError(f"'{name}' holds no U-Net in a checkpoint's names; choose a whole checkpoint.")
    check_by_itself(name, unet, header.shapes)
    if first[1] != 4:
        raise DiversityError(
            f"'{name}' is {kind_of(first[1])}, which cannot be distilled here; choose a base for txt2img."
        )
    found = _LABELS.get(architecture_of(unet))
    if found is None:
        found = _by_parts(shapes) if told else None
    if found is None:
        label = architecture_of(unet)
        raise DiversityError(
            f"'{name}' is {label if label != UNKNOWN else 'of a build that is not known here'}; choose an SD 1.x, "
            "SD 2.x or SDXL checkpoint."
        )
    return found  # pyright: ignore[reportReturnType]


def _by_parts(shapes: Mapping[str, Any]) -> Architecture | None:
    """Of a network of another width, which a yaml describes: by the names of its text encoders."""
    if any(name.startswith("conditioner.embedders.1.model.") for name in shapes):
        return "sdxl"
    if any(name.startswith(_OPEN_CLIP["sd2"]) for name in shapes):
        return "sd2"
    return "sd1" if any(name.startswith(_CLIP["sd1"]) for name in shapes) else None


def _tokenizer(told: Mapping[str, Any], beside: Path) -> Path | None:
    version = told.get("cond_stage_config", {}).get("params", {}).get("version")
    if not isinstance(version, str):
        return None
    folder = beside.parent / version
    return folder if folder.is_dir() else None
