"""The distilled model's own reading of the prompt: a second engine of the host's kind, for its text encoders alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from backend import loader, memory_management
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from modules import shared

from extension_core.errors import DiversityError
from extension_core.hosts.common.processing.attributes import during
from extension_core.hosts.common.processing.conditioning import own_caches
from extension_core.hosts.forge.engine_view import view_of
from extension_core.hosts.forge.prompt_loras import clip_with, of_prompt, read_by, scaled
from extension_core.weights.cond_caches import CondCaches
from extension_core.weights.naming import TEXT_PREFIXES, file_keys
from extension_core.weights.reader import TensorSource, read_header
from extension_core.weights.style import with_styles

# Forge gives every CLIP these two, whether a file has them or not (backend/nn/clip.py, dfdcbab6).
_ADDED = ("logit_scale", "text_projection.weight")
_PREFIX = TEXT_PREFIXES[0]


@dataclass
class OwnText:
    """A second text encoder.

    Attributes:
        engine: an engine of the host's class, whose U-Net is not used.
        caches: the host's prompt caches for it.
    """

    engine: Any
    caches: CondCaches = field(default_factory=CondCaches)

    @property
    def patcher(self) -> Any:
        """What the host's memory management knows of it."""
        return self.engine.forge_objects.clip.patcher

    def conds(self, p: Any, lora_factor: float) -> tuple[Any, Any]:
        """(cond, uncond) of the current pass, with the networks that the host has activated for it."""
        # The first pass would read the hires prompts too, and activate their networks on the model that is to run.
        alone = {} if p.is_hr_pass or not hasattr(p, "enable_hr") else {"enable_hr": False}
        with (
            read_by(p, lambda base: self._with_networks(base, lora_factor)),
            own_caches(p, self.caches.of(lora_factor)),
            during(p, **alone),
        ):
            p.setup_conds()
            return p.get_conds()

    def _with_networks(self, base: Any, factor: float) -> Any:
        """The engine with the prompt's networks, their weights times `factor`, after its own."""
        engine = self.engine
        engine.set_clip_skip(int(shared.opts.CLIP_stop_at_last_layers))
        networks = {**self.patcher.lora_patches, **scaled(of_prompt(base), factor)}
        return view_of(engine, clip=lambda clip: clip_with(engine, clip, networks))


def is_overridden() -> bool:
    """Whether the user's VAE / text encoder modules replace the text encoder of whatever checkpoint is loaded."""
    return any(_has_text_encoder(Path(module)) for module in shared.opts.forge_additional_modules)


# What the modules in use hold, for they may go away while they are loaded.
_HAVE_TEXT_ENCODER: dict[Path, bool] = {}


def _has_text_encoder(path: Path) -> bool:
    if path.suffix.lower() == ".gguf":
        return True
    try:
        keys = read_header(path).shapes
    except DiversityError:
        return _HAVE_TEXT_ENCODER.get(path, False)
    found = any("text_model." in key or "resblocks." in key or "SelfAttention" in key for key in keys)
    _HAVE_TEXT_ENCODER[path] = found
    return found


def as_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Shapes of a file's text encoders under the host's names, by the host's own conversion of names."""
    empty = {
        name: torch.empty(shape, device="meta") for name, shape in shapes.items() if name.startswith(TEXT_PREFIXES)
    }
    return {_PREFIX + name: tuple(tensor.shape) for name, tensor in _converted(empty).items()}


def live_shapes() -> dict[str, tuple[int, ...]]:
    """Shapes of the host's text encoders, without what files need not have."""
    return {_PREFIX + name: tuple(tensor.shape) for name, tensor in _live().items()}


def _converted(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return shared.sd_model.model_config.process_clip_state_dict(dict(tensors))


def _live() -> dict[str, torch.Tensor]:
    """The host's text encoder tensors that every file has, without merged networks."""
    return {name: tensor for name, tensor in _live_all().items() if not name.endswith(_ADDED)}


def _live_all() -> dict[str, torch.Tensor]:
    """The host wraps its token embeddings; files do not know of that."""
    clip = shared.sd_model.forge_objects.clip
    merged: Mapping[str, torch.Tensor] = clip.patcher.lora_loader.backup
    named = clip.cond_stage_model.named_parameters(remove_duplicate=False)
    return {name: merged.get(name, parameter).data for name, parameter in named if ".wrapped." not in name}


def second_text(unet: torch.nn.Module) -> OwnText:
    """The host's text encoders a second time, without networks that are merged now."""
    return OwnText(_engine(_live_all(), unet))


def load_text(
    source: TensorSource, unet: torch.nn.Module, origin: TensorSource | None, strength: float
) -> OwnText | None:
    """A file's text encoders, with what the host's have learnt since their origin; None if they are the host's own."""
    tensors = _of_file(source)
    if origin is not None:
        tensors = with_styles(tensors, _live_all(), _of_file(origin), strength)
    if all(_equal(tensors[name], live) for name, live in _live().items()):
        return None
    return OwnText(_engine(tensors, unet))


def _of_file(source: TensorSource) -> dict[str, torch.Tensor]:
    keys = file_keys(list(source.keys())).items()
    return _converted({name: source.get(key) for name, key in keys if name.startswith(TEXT_PREFIXES)})


def _equal(tensor: torch.Tensor, live: torch.Tensor) -> bool:
    """Equal in the number type that the host stores text encoders in; it widens some tensors later."""
    stored = tensor.to(memory_management.text_encoder_dtype()).to(device=live.device, dtype=live.dtype)
    return torch.equal(*(value.view(torch.uint8) if value.element_size() == 1 else value for value in (stored, live)))


def _engine(tensors: Mapping[str, torch.Tensor], unet: torch.nn.Module) -> Any:
    """An engine of the host model's class, with these text encoders and otherwise the parts at hand."""
    base = shared.sd_model
    config = base.model_config
    folder = Path(loader.dir_path) / "huggingface" / config.huggingface_repo
    parts: dict[str, Any] = {"unet": unet, "vae": base.forge_objects.vae.first_stage_model}
    states = {part: _under(tensors, f"{prefix}.") for prefix, part in config.clip_target.items()}
    for part, kind in DiffusionPipeline.load_config(str(folder)).items():
        if part.startswith(("text_encoder", "tokenizer", "scheduler")) and isinstance(kind, (list, tuple)):
            parts[part] = loader.load_huggingface_component(config, part, *kind, str(folder), states.get(part))
    return type(base)(estimated_config=config, huggingface_components=parts)


def _under(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
