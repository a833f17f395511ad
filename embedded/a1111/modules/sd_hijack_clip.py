"""The text encoder's wrapper: prompts of any length, weights of words, clip skip."""

from __future__ import annotations

from typing import Any

import torch

from modules import devices
from modules.shared import opts
from modules.text_chunks import ChunkedText


class FrozenCLIPEmbedderWithCustomWords(ChunkedText, torch.nn.Module):
    """Prompts to [B, 77 n, D]. Holds the checkpoint's own encoder as `wrapped`."""

    def __init__(self, wrapped: Any, hijack: Any) -> None:
        super().__init__()
        self.hijack, self.wrapped, self.tokenizer = hijack, wrapped, wrapped.tokenizer
        self.is_trainable = False
        self.comma_token = self.tokenizer.get_vocab().get(",</w>")
        self.id_start = self.tokenizer.bos_token_id
        self.id_end = self.id_pad = self.tokenizer.eos_token_id

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        return self.tokenizer(texts, truncation=False, add_special_tokens=False)["input_ids"]

    def forward(self, texts: list[str]) -> torch.Tensor:
        return self.encode(texts)

    def encode_with_transformers(self, tokens: torch.Tensor) -> torch.Tensor:
        skip, encoder = opts.CLIP_stop_at_last_layers, self.wrapped.transformer
        outputs = encoder(input_ids=tokens.to(devices.device), output_hidden_states=skip > 1)
        if skip <= 1:
            return outputs.last_hidden_state
        return encoder.text_model.final_layer_norm(outputs.hidden_states[-skip])
