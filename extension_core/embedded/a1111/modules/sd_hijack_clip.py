"""The text encoder's wrapper: prompts of any length in chunks of 75 tokens, weights of words, textual inversion, clip
skip.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch

from modules import devices, prompt_parser, sd_emphasis
from modules.shared import opts


class PromptChunk:
    """77 tokens with their weights; `fixes` says where vectors of an embedding take a token's place."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.multipliers: list[float] = []
        self.fixes: list[PromptChunkFix] = []


class PromptChunkFix(NamedTuple):
    offset: int
    embedding: Any


class _ChunkBuilder:
    """Fills chunks token by token; a full one is closed, where a comma is near at the comma."""

    def __init__(self, encoder: TextConditionalModel) -> None:
        self.encoder = encoder
        self.chunks: list[PromptChunk] = []
        self.chunk = PromptChunk()
        self.token_count = 0
        self.last_comma = -1

    @property
    def full(self) -> bool:
        return len(self.chunk.tokens) == self.encoder.chunk_length

    def close(self, is_last: bool = False) -> None:
        e, chunk = self.encoder, self.chunk
        self.token_count += len(chunk.tokens) if is_last else e.chunk_length
        missing = e.chunk_length - len(chunk.tokens)
        chunk.tokens = [e.id_start, *chunk.tokens, *[e.id_end] * missing, e.id_end]
        chunk.multipliers = [1.0, *chunk.multipliers, *[1.0] * missing, 1.0]
        self.last_comma = -1
        self.chunks.append(chunk)
        self.chunk = PromptChunk()

    def _break_at_comma(self) -> None:
        start = self.last_comma + 1
        tokens, multipliers = self.chunk.tokens[start:], self.chunk.multipliers[start:]
        self.chunk.tokens, self.chunk.multipliers = self.chunk.tokens[:start], self.chunk.multipliers[:start]
        self.close()
        self.chunk.tokens, self.chunk.multipliers = tokens, multipliers

    def add(self, tokens: list[int], position: int, weight: float) -> int:
        """Adds the token, or the embedding named, at `position`; returns how many tokens that used up."""
        reach = opts.comma_padding_backtrack
        if tokens[position] == self.encoder.comma_token:
            self.last_comma = len(self.chunk.tokens)
        elif reach != 0 and self.full and self.last_comma != -1 and len(self.chunk.tokens) - self.last_comma <= reach:
            self._break_at_comma()
        if self.full:
            self.close()
        embedding, used = self.encoder.hijack.embedding_db.find_embedding_at_position(tokens, position)
        if embedding is None:
            self.chunk.tokens.append(tokens[position])
            self.chunk.multipliers.append(weight)
            return 1
        length = int(embedding.vectors)
        if len(self.chunk.tokens) + length > self.encoder.chunk_length:
            self.close()
        self.chunk.fixes.append(PromptChunkFix(len(self.chunk.tokens), embedding))
        self.chunk.tokens += [0] * length
        self.chunk.multipliers += [weight] * length
        return int(used or 1)


class TextConditionalModel(torch.nn.Module):
    """Prompts to [B, 77 n, D]. Subclasses say how to tokenize and how to run the network."""

    def __init__(self) -> None:
        super().__init__()
        from modules import sd_hijack

        self.hijack: Any = sd_hijack.model_hijack
        self.chunk_length = 75
        self.is_trainable = False
        self.input_key = "txt"
        self.return_pooled = False
        self.comma_token: int | None = None
        self.id_start = self.id_end = self.id_pad = 0

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        raise NotImplementedError

    def encode_with_transformers(self, tokens: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def empty_chunk(self) -> PromptChunk:
        chunk = PromptChunk()
        inner = self.chunk_length
        chunk.tokens = [self.id_start, *[self.id_end] * inner, self.id_end]
        chunk.multipliers = [1.0] * len(chunk.tokens)
        return chunk

    def get_target_prompt_token_count(self, token_count: int) -> int:
        """The length of all chunks that so many tokens need; at least one."""
        chunks = math.ceil(max(token_count, 1) / self.chunk_length)
        return chunks * self.chunk_length

    def tokenize_line(self, line: str) -> tuple[list[PromptChunk], int]:
        parsed = prompt_parser.parse_prompt_attention(line) if opts.emphasis != "None" else [[line, 1.0]]
        builder = _ChunkBuilder(self)
        for tokens, (text, weight) in zip(self.tokenize([text for text, _ in parsed]), parsed):
            if text == "BREAK" and weight == -1:
                builder.close()
                continue
            position = 0
            while position < len(tokens):
                position += builder.add(tokens, position, weight)
        if builder.chunk.tokens or not builder.chunks:
            builder.close(is_last=True)
        return builder.chunks, builder.token_count

    def process_texts(self, texts: list[str]) -> tuple[list[list[PromptChunk]], int]:
        known = {line: self.tokenize_line(line) for line in dict.fromkeys(texts)}
        return [known[line][0] for line in texts], max((count for _, count in known.values()), default=0)

    def forward(self, texts: list[str]) -> Any:
        batch_chunks, _ = self.process_texts(texts)
        used: dict[str, Any] = {}
        zs = []
        for i in range(max(map(len, batch_chunks))):
            row = [chunks[i] if i < len(chunks) else self.empty_chunk() for chunks in batch_chunks]
            fixes = [chunk.fixes for chunk in row]
            self.hijack.fixes = fixes
            used.update({fix.embedding.name: fix.embedding for of_chunk in fixes for fix in of_chunk})
            zs.append(self.process_tokens([chunk.tokens for chunk in row], [chunk.multipliers for chunk in row]))
        self._note_embeddings(used)
        if opts.emphasis != "Original" and any("(" in x or "[" in x for x in texts):
            notes = self.hijack.extra_generation_params
            notes["Emphasis"] = opts.emphasis
        return torch.hstack(zs)

    def _note_embeddings(self, used: dict[str, Any]) -> None:
        if not opts.textual_inversion_add_hashes_to_infotext:
            return
        hashes = [f"{name.replace(':', '').replace(',', '')}: {e.shorthash}" for name, e in used.items() if e.shorthash]
        if hashes:
            earlier = self.hijack.extra_generation_params.get("TI hashes")
            self.hijack.extra_generation_params["TI hashes"] = ", ".join(hashes + ([earlier] if earlier else []))

    def process_tokens(
        self, remade_batch_tokens: list[list[int]], batch_multipliers: list[list[float]]
    ) -> torch.Tensor:
        """One chunk of every prompt through the encoder, [B, 77, D], words weighted."""
        kind = sd_emphasis.get_current_option(opts.emphasis)
        weighting = kind()
        weighting.tokens = remade_batch_tokens
        weighting.multipliers = torch.asarray(batch_multipliers).to(devices.device)
        weighting.z = self.encode_with_transformers(self._ids(remade_batch_tokens))
        weighting.after_transformers()
        return weighting.z

    def _ids(self, rows: list[list[int]]) -> torch.Tensor:
        """What follows the end of a text is padding, where the tokenizer has a token of its own for that."""
        ids = torch.asarray(rows).to(devices.device)
        if self.id_pad != self.id_end:
            for i, row in enumerate(rows):
                ids[i, row.index(self.id_end) + 1 :] = self.id_pad
        return ids


class FrozenCLIPEmbedderWithCustomWordsBase(TextConditionalModel):
    """Holds the checkpoint's own encoder as `wrapped`."""

    def __init__(self, wrapped: Any, hijack: Any) -> None:
        super().__init__()
        self.hijack = hijack
        self.wrapped = wrapped
        self.is_trainable = getattr(wrapped, "is_trainable", False)
        self.input_key = getattr(wrapped, "input_key", "txt")
        self.legacy_ucg_val = None


class FrozenCLIPEmbedderWithCustomWords(FrozenCLIPEmbedderWithCustomWordsBase):
    def __init__(self, wrapped: Any, hijack: Any) -> None:
        super().__init__(wrapped, hijack)
        self.tokenizer = wrapped.tokenizer
        self.comma_token = self.tokenizer.get_vocab().get(",</w>", None)
        self.id_start = self.tokenizer.bos_token_id
        self.id_end = self.tokenizer.eos_token_id
        self.id_pad = self.id_end

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        return self.wrapped.tokenizer(texts, truncation=False, add_special_tokens=False)["input_ids"]

    def encode_with_transformers(self, tokens: torch.Tensor) -> torch.Tensor:
        skip = opts.CLIP_stop_at_last_layers
        outputs = self.wrapped.transformer(input_ids=tokens, output_hidden_states=-skip)
        if skip <= 1:
            return outputs.last_hidden_state
        return self.wrapped.transformer.text_model.final_layer_norm(outputs.hidden_states[-skip])

    def encode_embedding_init_text(self, init_text: str, nvpt: int) -> torch.Tensor:
        layer = self.wrapped.transformer.text_model.embeddings.token_embedding.wrapped
        ids = self.wrapped.tokenizer(init_text, max_length=nvpt, return_tensors="pt", add_special_tokens=False)[
            "input_ids"
        ]
        return layer(ids.to(layer.weight.device)).squeeze(0)
