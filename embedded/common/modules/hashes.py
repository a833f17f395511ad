"""SHA-256 of model files, remembered by modification time."""

from __future__ import annotations

import hashlib
import os
from typing import BinaryIO

from modules.cache import cache, dump_cache


def _digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def calculate_sha256(filename: str) -> str:
    with open(filename, "rb") as file:
        return _digest(file)


def addnet_hash_safetensors(file: BinaryIO) -> str:
    """The hash of a safetensors file's tensors alone, its header left out, as LoRA trainers write it."""
    file.seek(0)
    header = int.from_bytes(file.read(8), "little")
    file.seek(header + 8)
    return _digest(file)


def sha256_from_cache(filename: str, title: str, use_addnet_hash: bool = False) -> str | None:
    entry = cache("hashes-addnet" if use_addnet_hash else "hashes").get(title)
    try:
        mtime = os.path.getmtime(filename)
    except FileNotFoundError:
        return None
    if entry is None or mtime > entry.get("mtime", 0):
        return None
    return entry.get("sha256")


def sha256(filename: str, title: str, use_addnet_hash: bool = False) -> str | None:
    known = sha256_from_cache(filename, title, use_addnet_hash)
    if known is not None:
        return known
    if use_addnet_hash:
        with open(filename, "rb") as file:
            value = addnet_hash_safetensors(file)
    else:
        value = calculate_sha256(filename)
    cache("hashes-addnet" if use_addnet_hash else "hashes")[title] = {
        "mtime": os.path.getmtime(filename),
        "sha256": value,
    }
    dump_cache()
    return value
