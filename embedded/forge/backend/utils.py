"""Tensors in nested containers."""

from __future__ import annotations

from typing import Any

import torch


def dtype_to_element_size(dtype: torch.dtype) -> int:
    return dtype.itemsize


def nested_compute_size(obj: Any, element_size: int) -> int:
    """Bytes of all tensors in nested containers, at so many bytes a number."""
    if isinstance(obj, torch.Tensor):
        return obj.nelement() * element_size
    parts = obj.values() if isinstance(obj, dict) else obj if isinstance(obj, (list, tuple)) else ()
    return sum(nested_compute_size(part, element_size) for part in parts)


def nested_move_to_device(obj: Any, **kwargs: Any) -> Any:
    """`.to(**kwargs)` for every tensor, in place in dicts and lists; tuples are made anew."""
    if isinstance(obj, torch.Tensor):
        return obj.to(**kwargs)
    if isinstance(obj, tuple):
        return tuple(nested_move_to_device(part, **kwargs) for part in obj)
    if isinstance(obj, (dict, list)):
        for place, part in list(obj.items() if isinstance(obj, dict) else enumerate(obj)):
            obj[place] = nested_move_to_device(part, **kwargs)
    return obj
