"""What the host puts around a loaded model, and takes off again before other weights are read into it."""

from __future__ import annotations

from typing import Any

import torch

from modules import devices, sd_hijack_clip, sd_unet
from modules.shared import cmd_opts
from modules.textual_inversion import textual_inversion

current_optimizer: Any = "sdp"
optimizers: list[Any] = []


def list_optimizers() -> None:
    """Attention has one implementation here."""


def apply_optimizations(option: Any = None) -> str:
    del option
    return str(current_optimizer)


def undo_optimizations() -> None:
    return None


class EmbeddingsWithFixes(torch.nn.Module):
    """The token embedding, with vectors of textual inversion embeddings in the places that `fixes` names (read once,
    then cleared).
    """

    def __init__(self, wrapped: torch.nn.Module, embeddings: Any, textual_inversion_key: str = "clip_l") -> None:
        super().__init__()
        self.wrapped, self.embeddings = wrapped, embeddings
        self.textual_inversion_key = textual_inversion_key

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        wanted, self.embeddings.fixes = self.embeddings.fixes, None
        words = self.wrapped(input_ids)
        if not wanted or not any(wanted):
            return words
        rows = []
        for fixes, row in zip(wanted, words):
            for offset, embedding in fixes:
                row = self._replaced(row, offset + 1, embedding.vec)
            rows.append(row)
        return torch.stack(rows)

    def _replaced(self, row: torch.Tensor, first: int, vectors: Any) -> torch.Tensor:
        """[T, D] with an embedding's vectors from place `first` on, as many as fit."""
        own = vectors[self.textual_inversion_key] if isinstance(vectors, dict) else vectors
        fitting = devices.cond_cast_unet(own)[: row.shape[0] - first]
        return torch.cat([row[:first], fitting, row[first + len(fitting) :]]).to(row.dtype)


def _flatten(module: torch.nn.Module) -> list[torch.nn.Module]:
    return [module, *(x for child in module.children() for x in _flatten(child))]


class StableDiffusionModelHijack:
    """Afterwards `m.cond_stage_model` is the wrapper with the checkpoint's encoder as `.wrapped`, and that one's token
    embedding is a wrapper with the real one as `.wrapped`.
    """

    def __init__(self) -> None:
        self.fixes: Any = None
        self.layers: list[torch.nn.Module] | None = None
        self.circular_enabled = False
        self.clip: Any = None
        self.optimization_method: str | None = None
        self.extra_generation_params: dict[str, Any] = {}
        self.comments: list[str] = []
        self.embedding_db = database = textual_inversion.EmbeddingDatabase()
        database.add_embedding_dir(cmd_opts.embeddings_dir)

    def apply_optimizations(self, option: Any = None) -> None:
        self.optimization_method = apply_optimizations(option)

    def hijack(self, m: Any) -> None:
        encoder = m.cond_stage_model
        if type(encoder).__name__ == "FrozenCLIPEmbedder":
            table = encoder.transformer.text_model.embeddings
            table.token_embedding = EmbeddingsWithFixes(table.token_embedding, self)
            m.cond_stage_model = sd_hijack_clip.FrozenCLIPEmbedderWithCustomWords(encoder, self)
        self.apply_optimizations()
        self.clip = m.cond_stage_model
        self.layers = _flatten(m)
        sd_unet.original_forward = type(m.model.diffusion_model).forward

    def undo_hijack(self, m: Any) -> None:
        wrapper = m.cond_stage_model
        if isinstance(wrapper, sd_hijack_clip.FrozenCLIPEmbedderWithCustomWords):
            m.cond_stage_model = encoder = wrapper.wrapped
            table = encoder.transformer.text_model.embeddings
            if isinstance(table.token_embedding, EmbeddingsWithFixes):
                table.token_embedding = table.token_embedding.wrapped
        undo_optimizations()
        self.apply_circular(False)
        self.layers = None
        self.clip = None

    def redo_hijack(self, m: Any) -> None:
        self.undo_hijack(m)
        self.hijack(m)

    def apply_circular(self, enable: bool) -> None:
        """Tiling: convolutions wrap around. Undone by every reload of weights, for the rest of that request."""
        if self.circular_enabled == enable:
            return
        self.circular_enabled = enable
        layers: Any = self.layers  # None after a failed reload: tiling then fails on the host, and here
        for layer in layers:
            if type(layer) is torch.nn.Conv2d:
                layer.padding_mode = "circular" if enable else "zeros"

    def clear_comments(self) -> None:
        self.comments = []
        self.extra_generation_params = {}

    def get_prompt_lengths(self, text: str) -> tuple[Any, Any]:
        if self.clip is None:
            return "-", "-"
        _, used = self.clip.process_texts([text])
        return used, self.clip.get_target_prompt_token_count(used)


model_hijack = StableDiffusionModelHijack()
