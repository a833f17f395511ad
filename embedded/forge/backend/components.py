"""The text encoder and the autoencoder, each with its patcher."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import torch
from modules.text_chunks import ChunkedText

from backend import memory_management
from backend.patcher.base import ModelPatcher

_ENCODING, _DECODING = 1767, 2178 * 64  # bytes for each number of what goes in


class CLIPEmbeddingForTextualInversion(torch.nn.Module):
    """The token embedding, where the host exchanges vectors. Here for its place in the names alone, under two of which
    the one parameter is.
    """

    def __init__(self, wrapped: Any) -> None:
        super().__init__()
        self.wrapped, self.weight = wrapped, wrapped.weight

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.wrapped(input_ids)


class ClassicTextProcessingEngine(ChunkedText):
    """Prompts in chunks, weights of words, clip skip."""

    def __init__(self, text_encoder: Any, tokenizer: Any) -> None:
        super().__init__(tokenizer, tokenizer.pad_token_id)
        self.encoder, self.clip_skip = text_encoder.transformer, 1
        self.tables = self.encoder.text_model.embeddings
        self.tables.token_embedding = CLIPEmbeddingForTextualInversion(self.tables.token_embedding)

    def encode_with_transformers(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tables of embeddings are widened for good; layers are cast at each call."""
        self.tables.to(torch.float32)
        outputs = self.encoder(tokens.to(memory_management.get_torch_device()), output_hidden_states=True)
        return self.encoder.text_model.final_layer_norm(outputs.hidden_states[-max(self.clip_skip, 1)])


class CLIP:
    def __init__(self, model_dict: dict[str, torch.nn.Module], tokenizer_dict: dict[str, Any]) -> None:
        self.cond_stage_model = torch.nn.ModuleDict(model_dict)
        self.tokenizer = SimpleNamespace(**tokenizer_dict)
        devices = (memory_management.get_torch_device(), memory_management.cpu)
        self.patcher = ModelPatcher(self.cond_stage_model, *devices)

    def clone(self) -> CLIP:
        other = copy.copy(self)
        other.patcher = self.patcher.clone()
        return other

    def add_patches(self, **kwargs: Any) -> set[Any]:
        return self.patcher.add_patches(**kwargs)


class VAE:
    """Pictures are [B, 3, H, W] in -1..1, latents as the model is trained on."""

    def __init__(self, model: Any) -> None:
        self.first_stage_model, self.dtype = model, memory_management.vae_dtype()
        self.patcher = ModelPatcher(model, memory_management.get_torch_device(), memory_management.cpu)

    def _ready(self, x: torch.Tensor, bytes_a_number: int) -> torch.Tensor:
        """x [B, C, h, w] where the network is, which is loaded with room for it."""
        needed = bytes_a_number * x.shape[2] * x.shape[3] * self.dtype.itemsize
        memory_management.load_models_gpu([self.patcher], memory_required=needed)
        return x.to(self.patcher.load_device, self.dtype)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        unscaled = latents / self.first_stage_model.scaling_factor
        return self.first_stage_model.decode(self._ready(unscaled, _DECODING)).float().clamp(-1.0, 1.0)

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """Drawn from what the encoder tells, by torch's global generator."""
        mean, logvar = self.first_stage_model.encode(self._ready(pictures, _ENCODING))
        drawn = mean + torch.exp(0.5 * logvar) * torch.randn(mean.shape).to(mean)
        return drawn.float() * self.first_stage_model.scaling_factor
