"""CLIP's text encoders: prompts in chunks, weights of words, clip skip."""

from __future__ import annotations

from typing import Any

import torch
from modules.text_chunks import ChunkedText

from backend import memory_management


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
    def __init__(self, text_encoder: Any, tokenizer: Any) -> None:
        self.text_encoder, self.tokenizer, self.clip_skip = text_encoder, tokenizer, 1
        self.comma_token = tokenizer.get_vocab().get(",</w>")
        self.id_start, self.id_end = tokenizer.bos_token_id, tokenizer.eos_token_id
        self.id_pad = tokenizer.pad_token_id
        table = text_encoder.transformer.text_model.embeddings
        table.token_embedding = CLIPEmbeddingForTextualInversion(table.token_embedding)

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        return self.tokenizer(texts, truncation=False, add_special_tokens=False)["input_ids"]

    def __call__(self, texts: list[str]) -> torch.Tensor:
        return self.encode(texts)

    def encode_with_transformers(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tables of embeddings are widened for good; layers are cast at each call."""
        encoder = self.text_encoder.transformer
        for table in (encoder.text_model.embeddings.position_embedding, encoder.text_model.embeddings.token_embedding):
            table.to(torch.float32)
        outputs = encoder(tokens.to(memory_management.text_encoder_device()), output_hidden_states=True)
        return encoder.text_model.final_layer_norm(outputs.hidden_states[-max(self.clip_skip, 1)])
