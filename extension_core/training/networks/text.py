"""What a checkpoint's own text encoders say of prompts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from extension_core.errors import DiversityError
from extension_core.training.denoiser import Conditioning

_HUB_TOKENIZER = "openai/clip-vit-large-patch14"
_HEAD = 64  # channels of an attention head in every published CLIP
_OF_THE_HIGHEST = 2  # transformers' sign for: pooled where the highest token is, as open_clip does
_PADS_WITH = 0  # open_clip; CLIP itself pads with the token that ends a prompt


class TextEncoder:
    """One encoder with its tokenizer.

    Args:
        model: with or without a projection of the pooled output.
        penultimate: whether its last layer but one is read: by SD 2.x with the final norm, by SDXL without.
        final_norm: whether the final norm is applied to what is read.
    """

    def __init__(
        self, model: Any, tokenizer: CLIPTokenizer, penultimate: bool, final_norm: bool, pads_with: int | None
    ) -> None:
        self.model, self.tokenizer = model.eval().requires_grad_(False), tokenizer
        self.penultimate, self.final_norm, self.pads_with = penultimate, final_norm, pads_with

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor | None]:
        """Embeddings [n, 77, D] and the projected pooled output [n, P], where there is a projection."""
        ids = self._tokens(prompts).to(self.model.device)
        told = self.model(ids, output_hidden_states=True)
        read = told.hidden_states[-2] if self.penultimate else told.hidden_states[-1]
        if self.final_norm:
            read = self.model.text_model.final_layer_norm(read)
        return read, getattr(told, "text_embeds", None)

    def _tokens(self, prompts: Sequence[str]) -> Tensor:
        tokenizer: Any = self.tokenizer
        length = self.model.config.max_position_embeddings
        told = tokenizer(list(prompts), padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        ids, real = told.input_ids, told.attention_mask.bool()
        # The end token itself is kept where padding looks the same: the mask says which is which.
        return ids if self.pads_with is None else torch.where(real, ids, torch.full_like(ids, self.pads_with))


class TextEncoders:
    """All encoders of a checkpoint."""

    def __init__(self, encoders: Sequence[TextEncoder]) -> None:
        self.encoders = list(encoders)

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """`prompt_embeds` [n, 77, D] and, of SDXL, `pooled` [n, P]."""
        told = [encoder.encode(prompts) for encoder in self.encoders]
        embeds = torch.cat([found for found, _ in told], dim=-1).float()
        pooled = told[-1][1]
        return {"prompt_embeds": embeds} if pooled is None else {"prompt_embeds": embeds, "pooled": pooled.float()}

    def to(self, device: torch.device) -> TextEncoders:
        """The same on a device."""
        for encoder in self.encoders:
            encoder.model.to(device)
        return self

    @property
    def empty(self) -> Conditioning:
        """Of the empty prompt [1, ...]; SDXL's is all zeros, as hosts have it where no negative prompt is given."""
        told = self.encode([""])
        return told if "pooled" not in told else {name: torch.zeros_like(value) for name, value in told.items()}


def read_tokenizer(folder: Path | None) -> CLIPTokenizer:
    """From a folder, or CLIP's own through transformers.

    Raises:
        DiversityError: it is not there.
    """
    source: Any = CLIPTokenizer
    try:
        return source.from_pretrained(_HUB_TOKENIZER if folder is None else str(folder))
    except (OSError, ValueError, TypeError, json.JSONDecodeError) as error:
        if folder is None:
            raise DiversityError(
                f"CLIP's tokenizer is neither in the cache nor to be had from the hub ({_HUB_TOKENIZER}); name a "
                "folder with its vocab.json and merges.txt in base.tokenizer."
            ) from error
        raise DiversityError(
            f"{folder} holds no tokenizer; name a folder with vocab.json and merges.txt in base.tokenizer."
        ) from error


def clip_model(tensors: Mapping[str, Tensor], prefix: str, folder: Path | None, dtype: torch.dtype) -> Any:
    """A CLIP that stands in the file under transformers' names (SD 1.x, SDXL's first).

    Args:
        folder: with a config.json, of an encoder of another build.
    """
    state = {name.removeprefix(prefix): tensor.to(dtype) for name, tensor in tensors.items() if name.startswith(prefix)}
    state.pop("text_model.embeddings.position_ids", None)
    model: Any = CLIPTextModel(_config(state, folder, "quick_gelu"))
    model.load_state_dict(state)
    return model


def open_clip_model(tensors: Mapping[str, Tensor], prefix: str, projects: bool, dtype: torch.dtype) -> Any:
    """A CLIP that stands in the file under open_clip's names (SD 2.x, SDXL's second)."""
    inside = {name: tensor.to(dtype) for name, tensor in tensors.items() if name.startswith(prefix)}
    width = inside[f"{prefix}ln_final.weight"].shape[0]
    layers = 1 + max(int(name.removeprefix(prefix).split(".")[2]) for name in inside if ".resblocks." in name)
    config = CLIPTextConfig(
        vocab_size=inside[f"{prefix}token_embedding.weight"].shape[0],
        hidden_size=width,
        intermediate_size=inside[f"{prefix}transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        projection_dim=inside[f"{prefix}text_projection"].shape[1] if f"{prefix}text_projection" in inside else width,
        num_hidden_layers=layers,
        num_attention_heads=width // _HEAD,
        max_position_embeddings=inside[f"{prefix}positional_embedding"].shape[0],
        hidden_act="gelu",
        eos_token_id=_OF_THE_HIGHEST,
    )
    model: Any = (CLIPTextModelWithProjection if projects else CLIPTextModel)(config)
    state: Any = convert_open_clip_checkpoint(model, dict(inside), prefix)
    wanted = set(model.state_dict())  # not the projection, where none is asked for
    model.load_state_dict({name: value for name, value in state.items() if name in wanted})
    return model


def _config(state: Mapping[str, Tensor], folder: Path | None, activation: str) -> CLIPTextConfig:
    """By the shapes, and what they do not tell by a config.json, if there is one."""
    vocabulary, width = state["text_model.embeddings.token_embedding.weight"].shape
    told: dict[str, Any] = {}
    if folder is not None and (folder / "config.json").is_file():
        told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    layers = {int(name.split(".")[3]) for name in state if name.startswith("text_model.encoder.layers.")}
    return CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=state["text_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=len(layers),
        num_attention_heads=told.get("num_attention_heads", width // _HEAD),
        max_position_embeddings=state["text_model.embeddings.position_embedding.weight"].shape[0],
        hidden_act=told.get("hidden_act", activation),
        layer_norm_eps=told.get("layer_norm_eps", 1e-5),
    )


def pad_of(architecture: str, index: int) -> int | None:
    """What an encoder's tokenizer fills up with; None: the end token."""
    return _PADS_WITH if architecture == "sd2" or (architecture == "sdxl" and index == 1) else None
