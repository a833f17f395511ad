"""SHA-256 of model files, remembered until the file changes."""

from __future__ import annotations

import hashlib
import os

from modules import cache


def _digest(filename: str, tensors_alone: bool) -> str:
    """Of a safetensors file's tensors alone the header is left out, as LoRA trainers do."""
    digest = hashlib.sha256()
    with open(filename, "rb") as file:
        if tensors_alone:
            file.seek(8 + int.from_bytes(file.read(8), "little"))
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def _subject(use_addnet_hash: bool) -> str:
    return "hashes of tensors" if use_addnet_hash else "hashes"


def sha256_from_cache(filename: str, title: str, use_addnet_hash: bool = False) -> str | None:
    """None where it is not known, or the file has changed since or is gone."""
    return cache.known(_subject(use_addnet_hash), title, filename) if os.path.exists(filename) else None


def sha256(filename: str, title: str, use_addnet_hash: bool = False) -> str | None:
    """Read of the file where it is not known yet."""
    read = lambda: _digest(filename, use_addnet_hash)  # noqa: E731
    return cache.cached_data_for_file(_subject(use_addnet_hash), title, filename, read)
