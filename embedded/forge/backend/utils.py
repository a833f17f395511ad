"""Parameters by dotted names, tensors in nested containers, files of tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import safetensors.torch
import torch


def load_torch_file(ckpt: str, safe_load: bool = False, device: torch.device | None = None) -> dict[str, torch.Tensor]:
    """A file's tensors; of pickled files only what `weights_only` lets through, asked for or not."""
    del safe_load
    place = device or torch.device("cpu")
    if ckpt.lower().endswith(".safetensors"):
        return safetensors.torch.load_file(ckpt, device=place.type)
    content = torch.load(ckpt, map_location=place, weights_only=True)
    return content.get("state_dict", content)


def get_attr_with_parent(obj: Any, attr: str) -> tuple[Any, str, Any]:
    """(owner, last name, value) of a dotted name."""
    path, _, name = attr.rpartition(".")
    owner = get_attr(obj, path) if path else obj
    return owner, name, getattr(owner, name)


def get_attr(obj: Any, attr: str) -> Any:
    for name in attr.split("."):
        obj = getattr(obj, name)
    return obj


def set_attr_raw(obj: Any, attr: str, value: Any) -> None:
    path, _, name = attr.rpartition(".")
    setattr(get_attr(obj, path) if path else obj, name, value)


def set_attr(obj: Any, attr: str, value: torch.Tensor) -> None:
    set_attr_raw(obj, attr, torch.nn.Parameter(value, requires_grad=False))


def tensor2parameter(x: torch.Tensor) -> torch.nn.Parameter:
    return x if isinstance(x, torch.nn.Parameter) else torch.nn.Parameter(x, requires_grad=False)


def dtype_to_element_size(dtype: torch.dtype) -> int:
    return dtype.itemsize


def _map_nested(obj: Any, change: Callable[[torch.Tensor], Any]) -> Any:
    """Tensors exchanged in place in lists and dicts; tuples are made anew."""
    if isinstance(obj, torch.Tensor):
        return change(obj)
    if isinstance(obj, tuple):
        return tuple(_map_nested(part, change) for part in obj)
    if isinstance(obj, (dict, list)):
        for key in list(obj) if isinstance(obj, dict) else range(len(obj)):
            obj[key] = _map_nested(obj[key], change)
    return obj


def nested_move_to_device(obj: Any, **kwargs: Any) -> Any:
    """`.to(**kwargs)` for every tensor in nested dicts, lists and tuples."""
    return _map_nested(obj, lambda tensor: tensor.to(**kwargs))


def nested_compute_size(obj: Any, element_size: int) -> int:
    """Bytes of all tensors in nested containers, at so many bytes a number."""
    sizes: list[int] = []

    def count(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.nelement() * element_size)
        return tensor

    _map_nested(obj, count)
    return sum(sizes)


def get_state_dict_after_quant(model: torch.nn.Module, prefix: str = "") -> dict[str, torch.Tensor]:
    return {prefix + name: tensor.clone() for name, tensor in model.state_dict().items()}
