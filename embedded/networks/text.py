"""The text half of a Stable Diffusion 1.x checkpoint: a CLIP text model and its tokenizer (transformers).

Key names are those of the published files, ``cond_stage_model.transformer.text_model.*``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

MAX_LENGTH = 77


class TextEncoder(nn.Module):
    """Prompts to context [B, 77, D]. ``folder`` holds config.json, vocab.json and merges.txt.

    The weights are not read from the folder: they come with the checkpoint.
    """

    def __init__(self, folder: Path, max_length: int = MAX_LENGTH) -> None:
        super().__init__()
        config: Any = CLIPTextConfig.from_pretrained(str(folder))
        self.tokenizer: Any = CLIPTokenizer.from_pretrained(str(folder))
        self.transformer = CLIPTextModel(config)
        self.max_length = max_length

    def tokenize(self, prompts: list[str]) -> Tensor:
        """Token ids [B, 77]: start, at most 75 tokens, end, padded with the end token."""
        rows = [self.tokenizer(prompt, add_special_tokens=False, verbose=False).input_ids for prompt in prompts]
        start, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        kept = [[start, *row[: self.max_length - 2], end] for row in rows]
        return torch.tensor([row + [end] * (self.max_length - len(row)) for row in kept])

    def encode_tokens(self, tokens: Tensor, clip_skip: int = 1) -> Tensor:
        """Context [B, T, D] of token ids [B, T]; clip_skip 2 leaves the last layer out (the final norm stays)."""
        if clip_skip <= 1:
            return self.transformer(input_ids=tokens).last_hidden_state
        hidden = self.transformer(input_ids=tokens, output_hidden_states=True).hidden_states[-clip_skip]
        return self.transformer.text_model.final_layer_norm(hidden)

    def forward(self, prompts: list[str], clip_skip: int = 1) -> Tensor:
        device = next(self.parameters()).device
        return self.encode_tokens(self.tokenize(prompts).to(device), clip_skip)
