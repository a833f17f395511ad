"""Checkpoint files: what they are called, how they are found by name, and how their tensors are read."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from modules import cache, devices, errors, hashes, paths, shared
from modules.timer import Timer

model_dir = "Stable-diffusion"
model_path = os.path.abspath(os.path.join(paths.models_path, model_dir))


def _is_safetensors(filename: str) -> bool:
    return Path(filename).suffix.lower() == ".safetensors"


def read_metadata_from_safetensors(filename: str) -> dict[str, Any]:
    """The `__metadata__` of the header, values that are JSON objects parsed. AssertionError where it is no safetensors
    file.
    """
    with open(filename, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        start = file.read(2)
        assert length > 2 and start in (b'{"', b"{'"), f"{filename} is not a safetensors file"
        header = start + file.read(length - 2)
    try:
        metadata = json.loads(header).get("__metadata__", {})
    except ValueError:
        errors.report(f"The header of {filename} is not valid JSON; its metadata are left out", exc_info=True)
        return {}
    return {name: _parsed(value) for name, value in metadata.items()}


def _parsed(value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith("{"):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def model_hash(filename: str) -> str:
    """The old short hash, of 64 KiB at 1 MiB: the same for all small files."""
    try:
        with open(filename, "rb") as file:
            file.seek(0x100000)
            return hashlib.sha256(file.read(0x10000)).hexdigest()[:8]
    except FileNotFoundError:
        return "NOFILE"


def _replace_key(d: dict[str, Any], key: str, new_key: str, value: Any) -> None:
    """Renames a key without changing the order."""
    items = [(new_key, value) if k == key else (k, v) for k, v in d.items() if k != new_key or k == key]
    d.clear()
    d.update(items)
    d[new_key] = value


class CheckpointInfo:
    """One file. The SHA-256, and with it the "[...]" of the title, is known once the file was loaded or its hash
    remembered.
    """

    def __init__(self, filename: str) -> None:
        self.filename = filename
        self.is_safetensors = _is_safetensors(filename)
        self.name = self._relative_name()
        self._cache_key = f"checkpoint/{self.name}"
        self.modelspec_thumbnail: Any = None
        self.metadata: dict[str, Any] = self._metadata()
        self.name_for_extra = Path(filename).stem
        self.model_name, _ = os.path.splitext(re.sub(r"[/\\]", "_", self.name))
        self.hash = model_hash(filename)
        self.sha256 = hashes.sha256_from_cache(filename, self._cache_key)
        self.shorthash = self.sha256[:10] if self.sha256 else None
        self._set_titles()
        names = [self.model_name, self.title, self.name, self.name_for_extra]
        self.ids = [self.hash, *names, f"{self.name} [{self.hash}]"]
        self._add_hash_ids()

    def _metadata(self) -> dict[str, Any]:
        if not self.is_safetensors:
            return {}
        try:
            return cache.cached_data_for_file(
                "safetensors-metadata", self._cache_key, self.filename, self._read_metadata
            )
        except Exception as fault:  # listed all the same; loading it will fail
            errors.display(fault, f"reading the metadata of {self.filename}")
            return {}

    def _relative_name(self) -> str:
        path = os.path.abspath(self.filename)
        for folder in (os.path.abspath(shared.cmd_opts.ckpt_dir), model_path):
            if path.startswith(folder):
                return path.replace(folder, "").lstrip("\\/")
        return os.path.basename(self.filename)

    def _read_metadata(self) -> dict[str, Any]:
        metadata = read_metadata_from_safetensors(self.filename)
        self.modelspec_thumbnail = metadata.pop("modelspec.thumbnail", None)
        return metadata

    def _set_titles(self) -> None:
        suffix = "" if self.shorthash is None else f" [{self.shorthash}]"
        self.title = self.name + suffix
        self.short_title = self.name_for_extra + suffix

    def _add_hash_ids(self) -> None:
        short = self.shorthash
        if short and self.sha256 and short not in self.ids:
            self.ids += [short, self.sha256]
            self.ids += [f"{name} [{short}]" for name in (self.name, self.name_for_extra)]

    def register(self) -> None:
        checkpoints_list[self.title] = self
        checkpoint_aliases.update(dict.fromkeys(self.ids, self))

    def calculate_shorthash(self) -> str | None:
        self.sha256 = hashes.sha256(self.filename, self._cache_key)
        if self.sha256 is None:
            return None
        known, self.shorthash = self.shorthash, self.sha256[:10]
        if self.shorthash != known:
            self._retitle()
        return self.shorthash

    def _retitle(self) -> None:
        """After the hash became known: the title ends in it. The place in the list stays."""
        self._add_hash_ids()
        before = self.title
        self._set_titles()
        _replace_key(checkpoints_list, before, self.title, self)
        self.register()


checkpoints_list: dict[str, CheckpointInfo] = {}
checkpoint_aliases: dict[str, CheckpointInfo] = {}
checkpoint_alisases = checkpoint_aliases
checkpoints_loaded: OrderedDict[CheckpointInfo, dict[str, torch.Tensor]] = OrderedDict()


def checkpoint_tiles(use_short: bool = False) -> list[str]:
    attribute = "short_title" if use_short else "title"
    return [getattr(file, attribute) for file in checkpoints_list.values()]


def _files() -> list[str]:
    found: dict[str, None] = {}
    for folder in (model_path, shared.cmd_opts.ckpt_dir):
        for path in shared.walk_files(folder, allowed_extensions=[".ckpt", ".safetensors"]):
            if os.path.exists(path) and not path.endswith((".vae.ckpt", ".vae.safetensors")):
                found[path] = None
    return list(found)


def list_models() -> None:
    checkpoints_list.clear()
    checkpoint_aliases.clear()
    first = shared.cmd_opts.ckpt
    if first and os.path.exists(first):
        info = CheckpointInfo(first)
        info.register()
        shared.opts.data["sd_model_checkpoint"] = info.title
    elif first:
        print(f"--ckpt names no file: {first}", file=sys.stderr)
    for filename in _files():
        CheckpointInfo(filename).register()


_CHECKSUM = re.compile(r"\s*\[[^]]+]\s*$")


def get_closet_checkpoint_match(search_string: str | None) -> CheckpointInfo | None:
    """By any of a file's names; else the shortest title that contains the text, with or without its "[...]"."""
    if not search_string:
        return None
    if search_string in checkpoint_aliases:
        return checkpoint_aliases[search_string]
    for text in (search_string, _CHECKSUM.sub("", search_string)):
        found = sorted((x for x in checkpoints_list.values() if text in x.title), key=lambda x: len(x.title))
        if found:
            return found[0]
    return None


def select_checkpoint() -> CheckpointInfo:
    """The one that the settings name; the first there is where it is gone. FileNotFoundError where there is none."""
    wanted = shared.opts.sd_model_checkpoint
    info = checkpoint_aliases.get(wanted)
    if info is not None:
        return info
    if not checkpoints_list:
        raise FileNotFoundError(
            f"No checkpoints found in {model_path} or {shared.cmd_opts.ckpt_dir}; put a .safetensors file there."
        )
    info = next(iter(checkpoints_list.values()))
    if wanted is not None:
        print(f"Checkpoint {wanted} not found; loading fallback {info.title}", file=sys.stderr)
    return info


_OLD_KEYS = ("embeddings.", "encoder.", "final_layer_norm.")


def _current_key(key: str) -> str:
    for part in _OLD_KEYS:
        if key.startswith("cond_stage_model.transformer." + part):
            return key.replace("cond_stage_model.transformer.", "cond_stage_model.transformer.text_model.", 1)
    return key


def get_state_dict_from_checkpoint(pl_sd: dict[str, Any]) -> dict[str, torch.Tensor]:
    tensors = pl_sd.pop("state_dict", pl_sd)
    tensors.pop("state_dict", None)
    return {_current_key(k): v for k, v in tensors.items()}


def read_state_dict(
    checkpoint_file: str, print_global_state: bool = False, map_location: Any = None
) -> dict[str, torch.Tensor]:
    del print_global_state
    place = map_location or shared.weight_load_location
    device = place or devices.get_optimal_device_name()
    return get_state_dict_from_checkpoint(_read_tensors(checkpoint_file, device))


def _read_tensors(file: str, device: Any) -> dict[str, Any]:
    if not _is_safetensors(file):
        return torch.load(file, map_location=device, weights_only=True)
    if shared.opts.disable_mmap_load_safetensors:
        tensors = safetensors.torch.load(Path(file).read_bytes())
        return {key: tensor.to(device) for key, tensor in tensors.items()}
    return safetensors.torch.load_file(file, device=str(device))


def get_checkpoint_state_dict(checkpoint_info: CheckpointInfo, timer: Timer) -> dict[str, torch.Tensor]:
    shorthash = checkpoint_info.calculate_shorthash()
    timer.record("calculate hash")
    if checkpoint_info in checkpoints_loaded:
        print(f"{checkpoint_info.name} [{shorthash}] is taken from memory")
        checkpoints_loaded.move_to_end(checkpoint_info)
        return checkpoints_loaded[checkpoint_info]
    print(f"Reading {checkpoint_info.filename} [{shorthash}]")
    tensors = read_state_dict(checkpoint_info.filename)
    timer.record("load weights from disk")
    return tensors
