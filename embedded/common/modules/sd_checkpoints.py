"""Checkpoint files: what they are called, how they are found by name, and how their tensors are read."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from modules import hashes, paths, shared

model_dir = "Stable-diffusion"
model_path = os.path.abspath(os.path.join(paths.models_path, model_dir))


class CheckpointInfo:
    """One file. The SHA-256, with it the title's "[...]", is known once the file was loaded or its hash remembered."""

    def __init__(self, filename: str) -> None:
        path = os.path.abspath(filename)
        roots = [root for root in (os.path.abspath(shared.cmd_opts.ckpt_dir), model_path) if path.startswith(root)]
        self.filename = filename
        self.name = os.path.relpath(path, roots[0]) if roots else os.path.basename(path)
        self.name_for_extra = Path(filename).stem
        self.model_name = os.path.splitext(self.name)[0].replace(os.sep, "_")
        self._take_hash(hashes.sha256_from_cache(filename, f"checkpoint/{self.name}"))

    def _take_hash(self, sha256: str | None) -> None:
        self.sha256 = sha256
        self.shorthash = None if sha256 is None else sha256[:10]
        suffix = "" if sha256 is None else f" [{self.shorthash}]"
        self.title, self.short_title = self.name + suffix, self.name_for_extra + suffix
        self.ids = [self.model_name, self.name, self.name_for_extra, self.title, self.short_title]
        self.ids += [x for x in (self.shorthash, sha256) if x]

    def register(self) -> None:
        checkpoints_list[self.title] = self
        checkpoint_aliases.update(dict.fromkeys(self.ids, self))

    def calculate_shorthash(self) -> str | None:
        """Reads the file where its hash is not known; the title then ends in it, at its place in the list."""
        sha256, before = hashes.sha256(self.filename, f"checkpoint/{self.name}"), self.title
        if sha256 != self.sha256:
            self._take_hash(sha256)
            listed = [(self.title if title == before else title, info) for title, info in checkpoints_list.items()]
            checkpoints_list.clear()
            checkpoints_list.update(listed)
            self.register()
        return self.shorthash


checkpoints_list: dict[str, CheckpointInfo] = {}
checkpoint_aliases: dict[str, CheckpointInfo] = {}


def checkpoint_tiles(use_short: bool = False) -> list[str]:
    return [info.short_title if use_short else info.title for info in checkpoints_list.values()]


def list_models() -> None:
    checkpoints_list.clear()
    checkpoint_aliases.clear()
    found = [shared.cmd_opts.ckpt] if shared.cmd_opts.ckpt else []
    for folder in (model_path, shared.cmd_opts.ckpt_dir):
        found += shared.walk_files(folder, allowed_extensions=[".ckpt", ".safetensors"])
    for filename in dict.fromkeys(found):
        if os.path.exists(filename) and Path(filename).stem.rpartition(".")[2] != "vae":
            CheckpointInfo(filename).register()
    if shared.cmd_opts.ckpt and checkpoints_list:
        shared.opts.data["sd_model_checkpoint"] = next(iter(checkpoints_list))


def get_closet_checkpoint_match(search_string: str | None) -> CheckpointInfo | None:
    """By any of a file's names; else the shortest title that contains the text, with or without its "[...]"."""
    if not search_string or search_string in checkpoint_aliases:
        return checkpoint_aliases.get(search_string or "")
    for text in (search_string, search_string.partition("[")[0].strip()):
        if matches := [info for info in checkpoints_list.values() if text in info.title]:
            return min(matches, key=lambda info: len(info.title))
    return None


def select_checkpoint() -> CheckpointInfo:
    """The one that the settings name; the first there is where it is gone. FileNotFoundError where there is none."""
    wanted = shared.opts.sd_model_checkpoint
    if wanted in checkpoint_aliases:
        return checkpoint_aliases[wanted]
    if not checkpoints_list:
        folders = f"{model_path} or {shared.cmd_opts.ckpt_dir}"
        raise FileNotFoundError(f"No checkpoints found in {folders}; put a .safetensors file there.")
    first = next(iter(checkpoints_list.values()))
    if wanted:
        print(f"There is no checkpoint {wanted}; {first.title} is taken", file=sys.stderr)
    return first


def read_state_dict(
    checkpoint_file: str, print_global_state: bool = False, map_location: Any = None
) -> dict[str, torch.Tensor]:
    """A file's tensors; of pickled files only what `weights_only` lets through."""
    device = str(map_location or "cpu")
    if checkpoint_file.lower().endswith(".safetensors"):
        return safetensors.torch.load_file(checkpoint_file, device=device)
    content = torch.load(checkpoint_file, map_location=device, weights_only=True)
    return content.get("state_dict", content)
