"""Small things that extensions ask for."""

from __future__ import annotations

from typing import Any

from backend import memory_management


def apply_circular_forge(model: Any, tiling_enabled: bool = False) -> None:
    """Remembers the wish; tiling itself has no effect on this host."""
    if model.tiling_enabled != tiling_enabled:
        model.tiling_enabled = tiling_enabled
        print(f"Tiling: {tiling_enabled}. It is under maintenance on this host and without effect.")


def prepare_free_memory(aggressive: bool = False) -> None:
    if aggressive:
        memory_management.unload_all_models()
        return
    needed = memory_management.minimum_inference_memory()
    memory_management.free_memory(memory_required=needed, device=memory_management.get_torch_device())
