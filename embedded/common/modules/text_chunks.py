"""Prompts of any length in chunks of 75 tokens, and what the weights of words do to the encoder's output."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import Any

import torch

_TOKENS = re.compile(r"\\[()\[\]\\]|\\|[(\[]|:\s*(?P<weight>[+-]?[.\d]+)\s*\)|[)\]]|[^\\()\[\]:]+|:")
_BREAK = re.compile(r"\s*\bBREAK\b\s*")
_FACTORS = {"(": 1.1, "[": 1 / 1.1}


def parse_prompt_attention(text: str) -> list[list[Any]]:
    """Pieces of a prompt with their weights: `(x)` 1.1, `(x:1.5)` 1.5, `[x]` 1/1.1, nested ones multiplied, `\\(`
    literal; BREAK becomes a piece of weight -1. Brackets that are never closed reach to the end.

    >>> parse_prompt_attention("an (important) word")
    [['an ', 1.0], ['important', 1.1], [' word', 1.0]]
    >>> parse_prompt_attention("a BREAK b")
    [['a', 1.0], ['BREAK', -1], ['b', 1.0]]
    """
    pieces: list[list[Any]] = []
    still_open: dict[str, list[int]] = {"(": [], "[": []}

    def weigh(start: int, factor: float) -> None:
        for piece in pieces[start:]:
            piece[1] *= factor

    for match in _TOKENS.finditer(text):
        token, weight = match.group(), match["weight"]
        opening = {")": "(", "]": "["}.get(token[-1], "")
        if token in _FACTORS:
            still_open[token].append(len(pieces))
        elif not token.startswith("\\") and opening and still_open[opening]:
            weigh(still_open[opening].pop(), float(weight) if weight else _FACTORS[opening])
        else:
            literal = token[1:] if len(token) == 2 and token[0] == "\\" else token
            first, *others = _BREAK.split(literal)
            pieces.append([first, 1.0])
            for other in others:
                pieces += [["BREAK", -1], [other, 1.0]]
    for bracket, starts in still_open.items():
        for start in starts:
            weigh(start, _FACTORS[bracket])
    groups = [(weight, list(same)) for weight, same in itertools.groupby(pieces, lambda piece: piece[1])]
    return [["".join(text for text, _ in same), weight] for weight, same in groups] or [["", 1.0]]


def weighed(z: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The encoder's output [B, T, D] times the words' weights [B, T]; its mean over the whole batch is kept."""
    mean, z = z.mean(), z * weights.unsqueeze(-1)
    return z * (mean / z.mean())


@dataclass
class PromptChunk:
    """Up to 75 tokens with their weights."""

    tokens: list[int] = field(default_factory=list)
    multipliers: list[float] = field(default_factory=list)


class ChunkedText:
    """What both hosts' text encoders do around the network. They say how to run it."""

    chunk_length = 75

    def __init__(self, tokenizer: Any, id_pad: int) -> None:
        self.tokenizer, self.id_pad = tokenizer, id_pad
        self.id_start, self.id_end = tokenizer.bos_token_id, tokenizer.eos_token_id

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        return self.tokenizer(texts, truncation=False, add_special_tokens=False)["input_ids"]

    def encode_with_transformers(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens [B, 77] to [B, 77, D]."""
        raise NotImplementedError

    def tokenize_line(self, line: str) -> list[PromptChunk]:
        pieces = parse_prompt_attention(line)
        chunks = [PromptChunk()]
        for (text, weight), tokens in zip(pieces, self.tokenize([text for text, _ in pieces]), strict=True):
            if weight == -1 and text == "BREAK":
                chunks.append(PromptChunk())
                continue
            for token in tokens:
                if len(chunks[-1].tokens) == self.chunk_length:
                    chunks.append(PromptChunk())
                chunks[-1].tokens.append(token)
                chunks[-1].multipliers.append(weight)
        return chunks[:-1] if len(chunks) > 1 and not chunks[-1].tokens else chunks

    def encode(self, texts: list[str]) -> torch.Tensor:
        """[B, 77 n, D], n the chunks of the longest text."""
        lines = [self.tokenize_line(text) for text in texts]
        columns = [[line[i] if i < len(line) else PromptChunk() for line in lines] for i in range(max(map(len, lines)))]
        return torch.hstack([self._encoded(column) for column in columns])

    def _encoded(self, chunks: list[PromptChunk]) -> torch.Tensor:
        """What follows the end of a text is padding, where the tokenizer has a token of its own for that."""
        rows, weights = [], []
        for chunk in chunks:
            missing = self.chunk_length - len(chunk.tokens)
            rows.append([self.id_start, *chunk.tokens, self.id_end, *[self.id_pad] * missing])
            weights.append([1.0, *chunk.multipliers, *[1.0] * (missing + 1)])
        z = self.encode_with_transformers(torch.tensor(rows))
        return weighed(z, torch.tensor(weights).to(z))
