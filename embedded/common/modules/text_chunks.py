"""Prompts of any length in chunks of 75 tokens, with weights of words and textual inversion."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from modules import prompt_parser
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


class ChunkBuilder:
    """Fills chunks token by token; a full one is closed, where a comma is near at the comma."""

    def __init__(self, encoder: ChunkedText) -> None:
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
        embedding, used = self.encoder.find_embedding_at_position(tokens, position)
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


class ChunkedText:
    """What both hosts' text encoders do before the network runs. They say how to tokenize and what an embedding is
    called.
    """

    chunk_length = 75
    comma_token: int | None = None
    id_start = id_end = id_pad = 0

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        raise NotImplementedError

    def find_embedding_at_position(self, tokens: list[int], position: int) -> tuple[Any, int | None]:
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
        builder = ChunkBuilder(self)
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
