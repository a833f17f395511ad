"""The text encoder: its network, its tokenizer, its patcher."""

from __future__ import annotations

from typing import Any

from backend import memory_management
from backend.nn.clip import ModuleDict, ObjectDict
from backend.patcher.base import ModelPatcher


class CLIP:
    def __init__(
        self,
        model_dict: dict[str, Any] | None = None,
        tokenizer_dict: dict[str, Any] | None = None,
        no_init: bool = False,
    ) -> None:
        if no_init:
            return
        self.cond_stage_model = ModuleDict(model_dict or {})
        self.tokenizer = ObjectDict(tokenizer_dict or {})
        self.patcher = ModelPatcher(
            self.cond_stage_model,
            load_device=memory_management.text_encoder_device(),
            offload_device=memory_management.text_encoder_offload_device(),
        )

    def clone(self) -> CLIP:
        other = CLIP(no_init=True)
        other.cond_stage_model, other.tokenizer = self.cond_stage_model, self.tokenizer
        other.patcher = self.patcher.clone()
        return other

    def add_patches(self, *arg: Any, **kwargs: Any) -> set[Any]:
        return self.patcher.add_patches(*arg, **kwargs)
