"""CLIP's text encoders: prompts in chunks, weights of words, textual inversion, clip skip."""

from __future__ import annotations

from typing import Any

import torch
from modules import sd_emphasis
from modules.shared import opts
from modules.text_chunks import ChunkedText, PromptChunk

from backend import memory_management
from backend.text_processing.textual_inversion import EmbeddingDatabase

last_extra_generation_params: dict[str, Any] = {}
"""What the prompts read last are to be noted with; whoever reads it empties it."""


class CLIPEmbeddingForTextualInversion(torch.nn.Module):
    """The token embedding, with embeddings' vectors in the places that the database's `fixes` name."""

    def __init__(self, wrapped: Any, embeddings: EmbeddingDatabase) -> None:
        super().__init__()
        self.wrapped, self.embeddings = wrapped, embeddings
        self.weight = wrapped.weight

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        wanted, self.embeddings.fixes = self.embeddings.fixes, None
        words = self.wrapped(input_ids)
        if not wanted or not any(wanted):
            return words
        return torch.stack([self._exchanged(row, fixes) for fixes, row in zip(wanted, words, strict=True)])

    @staticmethod
    def _exchanged(row: torch.Tensor, fixes: Any) -> torch.Tensor:
        for offset, embedding in fixes:
            first = offset + 1
            vectors = embedding.vec.to(row)[: row.shape[0] - first]
            row = torch.cat([row[:first], vectors, row[first + len(vectors) :]])
        return row


class ClassicTextProcessingEngine(ChunkedText):
    def __init__(
        self,
        text_encoder: Any,
        tokenizer: Any,
        chunk_length: int = 75,
        embedding_dir: str | None = None,
        embedding_key: str = "clip_l",
        embedding_expected_shape: int = 768,
        minimal_clip_skip: int = 1,
        clip_skip: int = 1,
    ) -> None:
        self.text_encoder, self.tokenizer = text_encoder, tokenizer
        self.chunk_length, self.embedding_key = chunk_length, embedding_key
        self.minimal_clip_skip, self.clip_skip = minimal_clip_skip, clip_skip
        self.embeddings = EmbeddingDatabase(tokenizer, embedding_expected_shape)
        if isinstance(embedding_dir, str):
            self.embeddings.add_embedding_dir(embedding_dir)
            self.embeddings.load_textual_inversion_embeddings()
        self.id_start, self.id_end = tokenizer.bos_token_id, tokenizer.eos_token_id
        self.id_pad = tokenizer.pad_token_id
        self.comma_token = tokenizer.get_vocab().get(",</w>")
        table = text_encoder.transformer.text_model.embeddings
        table.token_embedding = CLIPEmbeddingForTextualInversion(table.token_embedding, self.embeddings)

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        return self.tokenizer(texts, truncation=False, add_special_tokens=False)["input_ids"]

    def find_embedding_at_position(self, tokens: list[int], position: int) -> tuple[Any, int | None]:
        return self.embeddings.find_embedding_at_position(tokens, position)

    def encode_with_transformers(self, tokens: torch.Tensor) -> torch.Tensor:
        """One chunk, [B, 77, D]. Tables of embeddings are widened for good; layers are cast at each call."""
        encoder = self.text_encoder.transformer
        model = encoder.text_model
        for table in (model.embeddings.position_embedding, model.embeddings.token_embedding):
            table.to(torch.float32)
        outputs = encoder(tokens.to(memory_management.text_encoder_device()), output_hidden_states=True)
        layer = outputs.hidden_states[-max(self.clip_skip, self.minimal_clip_skip)]
        return model.final_layer_norm(layer)

    def __call__(self, texts: list[str]) -> torch.Tensor:
        batch_chunks, _ = self.process_texts(texts)
        used: dict[str, None] = {}
        chunks_of_all = []
        for i in range(max(map(len, batch_chunks))):
            row = [chunks[i] if i < len(chunks) else self.empty_chunk() for chunks in batch_chunks]
            self.embeddings.fixes = [chunk.fixes for chunk in row]
            used.update(dict.fromkeys(fix.embedding.name for chunk in row for fix in chunk.fixes))
            chunks_of_all.append(self.process_chunks(row))
        self._note(texts, list(used))
        return torch.hstack(chunks_of_all)

    def _note(self, texts: list[str], used: list[str]) -> None:
        names = [name.replace(":", "").replace(",", "") for name in used]
        if names:
            earlier = last_extra_generation_params.get("TI")
            last_extra_generation_params["TI"] = ", ".join([*([earlier] if earlier else []), *names])
        if opts.emphasis != "Original" and any("(" in text or "[" in text for text in texts):
            last_extra_generation_params["Emphasis"] = opts.emphasis

    def process_chunks(self, chunks: list[PromptChunk]) -> torch.Tensor:
        weighting = sd_emphasis.get_current_option(opts.emphasis)()
        weighting.tokens = [chunk.tokens for chunk in chunks]
        weighting.z = self.encode_with_transformers(self._ids(weighting.tokens))
        weighting.multipliers = torch.asarray([chunk.multipliers for chunk in chunks]).to(weighting.z)
        weighting.after_transformers()
        return weighting.z

    def _ids(self, rows: list[list[int]]) -> torch.Tensor:
        """What follows the end of a text is padding, where the tokenizer has a token of its own for that."""
        ids = torch.asarray(rows)
        if self.id_pad != self.id_end:
            for i, row in enumerate(rows):
                ids[i, row.index(self.id_end) + 1 :] = self.id_pad
        return ids
