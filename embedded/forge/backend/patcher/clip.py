"""The text encoder: its network, its tokenizer, its patcher."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import torch

from backend import memory_management
from backend.patcher.base import ModelPatcher


class CLIP:
    def __init__(self, model_dict: dict[str, torch.nn.Module], tokenizer_dict: dict[str, Any]) -> None:
        self.cond_stage_model = torch.nn.Module()
        for name, module in model_dict.items():
            self.cond_stage_model.add_module(name, module)
        self.tokenizer = SimpleNamespace(**tokenizer_dict)
        devices = (memory_management.text_encoder_device(), memory_management.text_encoder_offload_device())
        self.patcher = ModelPatcher(self.cond_stage_model, *devices)

    def clone(self) -> CLIP:
        other = copy.copy(self)
        other.patcher = self.patcher.clone()
        return other

    def add_patches(self, **kwargs: Any) -> set[Any]:
        return self.patcher.add_patches(**kwargs)
