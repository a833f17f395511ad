"""A small CLIP tokenizer: all bytes, and every word of a vocabulary as one token."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from transformers.models.clip.tokenization_clip import bytes_to_unicode

END_OF_WORD = "</w>"
SPECIAL = ("<|startoftext|>", "<|endoftext|>")
Pair = tuple[str, str]


def learn_merges(words: Iterable[str]) -> list[Pair]:
    """Byte-pair merges, in order, after which each of ``words`` is one token."""
    split = {(*word[:-1], word[-1] + END_OF_WORD) for word in words}
    merges: list[Pair] = []
    while any(len(parts) > 1 for parts in split):
        pairs = Counter(pair for parts in split for pair in pairwise(parts))
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        split = {_merge(parts, best) for parts in split}
    return merges


def _merge(parts: tuple[str, ...], pair: Pair) -> tuple[str, ...]:
    merged: list[str] = []
    for part in parts:
        if merged and (merged[-1], part) == pair:
            merged[-1] += part
        else:
            merged.append(part)
    return tuple(merged)


def write_tokenizer(folder: Path, words: Iterable[str]) -> int:
    """vocab.json, merges.txt and the tokenizer's settings in ``folder``; returns the size of the vocabulary.

    The hosts look up ``,</w>`` and bracket tokens: all bytes have both their forms, as in CLIP's own vocabulary.
    """
    folder.mkdir(parents=True, exist_ok=True)
    single = list(bytes_to_unicode().values())
    merges = learn_merges(sorted(set(words)))
    tokens = [*single, *(token + END_OF_WORD for token in single)]
    tokens += [left + right for left, right in merges]
    vocabulary = {token: index for index, token in enumerate([*dict.fromkeys(tokens), *SPECIAL])}
    _write_json(folder / "vocab.json", vocabulary)
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    names = {"bos_token": SPECIAL[0], "eos_token": SPECIAL[1], "unk_token": SPECIAL[1], "pad_token": SPECIAL[1]}
    _write_json(folder / "special_tokens_map.json", names)
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True, "errors": "replace"}
    _write_json(folder / "tokenizer_config.json", {**settings, **names, "add_prefix_space": False})
    return len(vocabulary)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
