"""Parameters by dotted names, tensors in nested containers, files of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import safetensors.torch
import torch


def load_torch_file(ckpt: str, safe_load: bool = False, device: torch.device | None = None) -> dict[str, torch.Tensor]:
    """A file's tensors; of pickled files only what `weights_only` lets through, asked for or not."""
    del safe_load
    place = str(device or "cpu")
    if ckpt.lower().endswith(".safetensors"):
        return safetensors.torch.load_file(ckpt, device=place)
    content = torch.load(ckpt, map_location=place, weights_only=True)
    return content.get("state_dict", content)


def owner_of(obj: Any, dotted: str) -> tuple[Any, str]:
    """(what has the last part of a dotted name, that part). AttributeError where it has it not."""
    *path, last = dotted.split(".")
    for name in path:
        obj = getattr(obj, name)
    getattr(obj, last)
    return obj, last


def get_attr(obj: Any, attr: str) -> Any:
    return getattr(*owner_of(obj, attr))


def set_attr_raw(obj: Any, attr: str, value: Any) -> None:
    setattr(*owner_of(obj, attr), value)


def parameter_of(tensor: torch.Tensor) -> torch.nn.Parameter:
    return tensor if isinstance(tensor, torch.nn.Parameter) else torch.nn.Parameter(tensor, requires_grad=False)


def dtype_to_element_size(dtype: torch.dtype) -> int:
    return dtype.itemsize


def _tensors(obj: Any) -> Iterator[torch.Tensor]:
    if isinstance(obj, torch.Tensor):
        yield obj
    elif isinstance(obj, (dict, list, tuple)):
        for part in obj.values() if isinstance(obj, dict) else obj:
            yield from _tensors(part)


def nested_compute_size(obj: Any, element_size: int) -> int:
    """Bytes of all tensors in nested containers, at so many bytes a number."""
    return element_size * sum(tensor.nelement() for tensor in _tensors(obj))


def nested_move_to_device(obj: Any, **kwargs: Any) -> Any:
    """`.to(**kwargs)` for every tensor, in place in dicts and lists; tuples are made anew."""
    move: Callable[[Any], Any] = lambda part: nested_move_to_device(part, **kwargs)  # noqa: E731
    if isinstance(obj, torch.Tensor):
        return obj.to(**kwargs)
    if isinstance(obj, tuple):
        return tuple(map(move, obj))
    if isinstance(obj, dict):
        obj.update({key: move(part) for key, part in obj.items()})
    elif isinstance(obj, list):
        obj[:] = map(move, obj)
    return obj
