"""Textual inversion embeddings: vectors that stand for a word, read from the embeddings folder."""

from __future__ import annotations

import os
from typing import Any

import safetensors.torch
import torch

from modules import devices, errors, hashes, shared


class Embedding:
    def __init__(self, vec: Any, name: str, step: int | None = None) -> None:
        self.vec = vec
        self.name = name
        self.step = step
        self.shape = 0
        self.vectors = 0
        self.sd_checkpoint: str | None = None
        self.sd_checkpoint_name: str | None = None
        self.filename: str | None = None
        self.hash: str | None = None
        self.shorthash: str | None = None

    def set_hash(self, v: str) -> None:
        self.hash = v
        self.shorthash = v[:12]


def _vectors(data: dict[str, Any], name: str) -> torch.Tensor:
    """The vectors [n, D] in either of the two forms in use: the trainer's own, or one tensor by itself."""
    if "string_to_param" in data:
        params = data["string_to_param"]
        tensor = next(iter(getattr(params, "_parameters", params).values()))
    else:
        tensors = [v for v in data.values() if isinstance(v, torch.Tensor)]
        if len(tensors) != 1:
            raise ValueError(f"Embedding {name} holds {len(tensors)} tensors; one was expected.")
        tensor = tensors[0]
    return tensor.detach().reshape(-1, tensor.shape[-1])


def create_embedding_from_data(
    data: dict[str, Any], name: str, filename: str = "unknown embedding file", filepath: str | None = None
) -> Embedding:
    vec = _vectors(data, name).to(devices.device, dtype=torch.float32)
    embedding = Embedding(vec, name, data.get("step"))
    embedding.vectors, embedding.shape = vec.shape
    embedding.filename = filename
    for trained_on in ("sd_checkpoint", "sd_checkpoint_name"):
        setattr(embedding, trained_on, data.get(trained_on))
    if filepath:
        embedding.set_hash(hashes.sha256(filepath, "textual_inversion/" + name) or "")
    return embedding


class EmbeddingDatabase:
    """Those that fit the loaded model under `word_embeddings`, others under `skipped_embeddings`."""

    def __init__(self) -> None:
        self.ids_lookup: dict[int, list[tuple[list[int], Embedding]]] = {}
        self.word_embeddings: dict[str, Embedding] = {}
        self.skipped_embeddings: dict[str, Embedding] = {}
        self.expected_shape = -1
        self.synced = True
        self.folders: list[str] = []
        self._seen: tuple[Any, ...] | None = None

    def add_embedding_dir(self, path: str) -> None:
        self.folders.append(path)

    def register_embedding(self, embedding: Embedding, model: Any) -> Embedding:
        return self.register_embedding_by_name(embedding, model, embedding.name)

    def register_embedding_by_name(self, embedding: Embedding | None, model: Any, name: str) -> Any:
        ids = self.tokenized(name, model)
        entries = [x for x in self.ids_lookup.get(ids[0], []) if x[0] != ids]
        if embedding is None:
            self.word_embeddings.pop(name, None)
        else:
            self.word_embeddings[name] = embedding
            entries.append((ids, embedding))
        self.ids_lookup[ids[0]] = sorted(entries, key=lambda x: len(x[0]), reverse=True)
        return embedding

    def tokenized(self, name: str, model: Any) -> list[int]:
        """The tokens of an embedding's name; without a model they are not needed, but its name must be found."""
        return [-1] if model is None else model.cond_stage_model.tokenize([name])[0]

    def get_expected_shape(self) -> int:
        any_word = shared.sd_model.cond_stage_model.encode_embedding_init_text(",", 1)
        return int(any_word.shape[1])

    def _files(self) -> list[str]:
        return [
            x for d in self.folders for x in shared.walk_files(d, allowed_extensions=[".pt", ".bin", ".safetensors"])
        ]

    def load_textual_inversion_embeddings(self, force_reload: bool = False, sync_with_sd_model: bool = True) -> None:
        self.synced = sync_with_sd_model
        files = self._files()
        seen = tuple((x, os.path.getmtime(x)) for x in files)
        if seen == self._seen and not force_reload:
            return
        self._seen = seen
        self.ids_lookup.clear()
        self.word_embeddings.clear()
        self.skipped_embeddings.clear()
        self.expected_shape = self.get_expected_shape() if sync_with_sd_model else -1
        for path in files:
            try:
                self.load_from_file(path)
            except Exception:  # one bad file must not take the others away
                errors.report(f"{path} cannot be read as an embedding", exc_info=True)

    def load_from_file(self, path: str, filename: str | None = None) -> None:
        name = os.path.splitext(filename or os.path.basename(path))[0]
        if path.endswith(".safetensors"):
            data: dict[str, Any] = safetensors.torch.load_file(path)
        else:
            data = torch.load(path, map_location="cpu", weights_only=True)
        embedding = create_embedding_from_data(data, name, path, path)
        if self.expected_shape in (-1, embedding.shape):
            self.register_embedding(embedding, shared.sd_model if self.synced else None)
        else:
            self.skipped_embeddings[name] = embedding

    def find_embedding_at_position(self, tokens: list[int], offset: int) -> tuple[Embedding | None, int | None]:
        for ids, embedding in self.ids_lookup.get(tokens[offset], []):
            if tokens[offset : offset + len(ids)] == ids:
                return embedding, len(ids)
        return None, None


def list_textual_inversion_templates() -> list[str]:
    return []
