"""Textual inversion embeddings of one text encoder, found by its tokens."""

from __future__ import annotations

from typing import Any

from modules.textual_inversion import textual_inversion


class EmbeddingDatabase(textual_inversion.EmbeddingDatabase):
    """`fixes` are what the next chunk of each prompt exchanges; the token embedding reads them once."""

    def __init__(self, tokenizer: Any, expected_shape: int = -1) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.width = expected_shape
        self.fixes: Any = None

    def get_expected_shape(self) -> int:
        return self.width

    def tokenized(self, name: str, model: Any) -> list[int]:
        del model
        return self.tokenizer([name], truncation=False, add_special_tokens=False)["input_ids"][0]
