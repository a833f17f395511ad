"""What the host puts around a loaded model, and takes off again before other weights are read into it."""

from __future__ import annotations

from typing import Any

import torch

from modules import devices
from modules.shared import opts
from modules.text_chunks import ChunkedText


class FrozenCLIPEmbedderWithCustomWords(ChunkedText, torch.nn.Module):
    """Prompts of any length to [B, 77 n, D]: weights of words, clip skip. `wrapped` is the checkpoint's own encoder."""

    def __init__(self, wrapped: Any) -> None:
        torch.nn.Module.__init__(self)
        ChunkedText.__init__(self, wrapped.tokenizer, wrapped.tokenizer.eos_token_id)
        self.wrapped = wrapped

    def forward(self, texts: list[str]) -> torch.Tensor:
        return self.encode(texts)

    def encode_with_transformers(self, tokens: torch.Tensor) -> torch.Tensor:
        skip, encoder = opts.CLIP_stop_at_last_layers, self.wrapped.transformer
        outputs = encoder(input_ids=tokens.to(devices.device), output_hidden_states=skip > 1)
        if skip <= 1:
            return outputs.last_hidden_state
        return encoder.text_model.final_layer_norm(outputs.hidden_states[-skip])


class EmbeddingsWithFixes(torch.nn.Module):
    """The token embedding, where hosts exchange vectors of textual inversion. Here for its place in the names alone."""

    def __init__(self, wrapped: torch.nn.Module) -> None:
        super().__init__()
        self.wrapped = wrapped

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.wrapped(input_ids)


class StableDiffusionModelHijack:
    """Afterwards `m.cond_stage_model` is the wrapper with the checkpoint's encoder as `.wrapped`, and that one's token
    embedding is a wrapper with the real one as `.wrapped`.
    """

    def __init__(self) -> None:
        self.model: Any = None
        self.circular_enabled = False
        self.comments: list[str] = []

    def hijack(self, m: Any) -> None:
        self.model = m
        if not isinstance(m.cond_stage_model, FrozenCLIPEmbedderWithCustomWords):
            table = m.cond_stage_model.transformer.text_model.embeddings
            table.token_embedding = EmbeddingsWithFixes(table.token_embedding)
            m.cond_stage_model = FrozenCLIPEmbedderWithCustomWords(m.cond_stage_model)

    def undo_hijack(self, m: Any) -> None:
        """Loses tiling for the rest of the request."""
        self.apply_circular(False)
        if isinstance(m.cond_stage_model, FrozenCLIPEmbedderWithCustomWords):
            m.cond_stage_model = m.cond_stage_model.wrapped
            table = m.cond_stage_model.transformer.text_model.embeddings
            table.token_embedding = table.token_embedding.wrapped
        self.model = None

    def apply_circular(self, enable: bool) -> None:
        """Tiling: convolutions wrap around."""
        if enable != self.circular_enabled:
            self.circular_enabled = enable
            for layer in self.model.modules():  # None after a failed reload: tiling then fails on the host, and here
                if type(layer) is torch.nn.Conv2d:
                    layer.padding_mode = "circular" if enable else "zeros"


model_hijack = StableDiffusionModelHijack()
