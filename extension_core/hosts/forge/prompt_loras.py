"""The prompt's networks at other weights than the prompt's: patches of clones of the host's patchers.

A patch's weight is part of the key by which the host tells networks apart (backend/patcher/base.py, dfdcbab6), so a
model that holds the wanted ones is not merged again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from modules import shared

from extension_core.hosts.common.processing.attributes import during
from extension_core.hosts.forge.engine_view import view_of

Patches = dict[Any, Any]


def scaled(patches: Patches, factor: float) -> Patches:
    """A patcher's `lora_patches` with every weight times `factor`; 0 is none."""
    if factor == 1.0:
        return dict(patches)
    if factor == 0.0:
        return {}
    return {
        (name, weight * factor, *rest): {
            key: [[patch[0] * factor, *patch[1:]] for patch in of_key] for key, of_key in of_network.items()
        }
        for (name, weight, *rest), of_network in patches.items()
    }


@contextmanager
def read_by(p: Any, engine_of: Callable[[Any], Any]) -> Iterator[None]:
    """While this request reads its prompts: by the engine that is made of the host's for each of them.

    The host's caches, and what it notes of a reading, stay the host's (`get_conds_with_caching`, modules/processing.py,
    dfdcbab6).
    """
    host = p.get_conds_with_caching

    def get_conds_with_caching(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return host(lambda engine, *rest, **more: function(engine_of(engine), *rest, **more), *args, **kwargs)

    with during(p, get_conds_with_caching=get_conds_with_caching):
        yield


@contextmanager
def on_text_at_factor(p: Any, factor: float) -> Iterator[None]:
    """While this request reads its prompts by the host's text encoder: its networks' weights times `factor`."""
    if factor == 1.0:
        yield
        return

    def engine_of(engine: Any) -> Any:
        if engine is not shared.sd_model:
            return engine
        networks = {**_of_model(engine), **scaled(of_prompt(engine), factor)}
        return view_of(engine, clip=lambda clip: clip_with(engine, clip, networks))

    with read_by(p, engine_of):
        yield


def of_prompt(engine: Any) -> Patches:
    """Networks of the prompt on an engine's text encoder, as the host has activated them last."""
    own = _of_model(engine)
    return {name: patch for name, patch in engine.forge_objects.clip.patcher.lora_patches.items() if name not in own}


def _of_model(engine: Any) -> Patches:
    """What it had before any prompt: networks that are part of a distilled model."""
    return engine.forge_objects_original.clip.patcher.lora_patches


@dataclass
class _Clip:
    made_of: Any
    clip: Any


# Process-wide on purpose: the host's memory management forgets a patcher that nobody refers to, its model unmoved.
_LAST: WeakKeyDictionary[Any, _Clip] = WeakKeyDictionary()


def clip_with(engine: Any, clip: Any, networks: Patches) -> Any:
    """A text encoder of an engine, with these networks and no others; the one of last time if that had them."""
    if list(clip.patcher.lora_patches) == list(networks):
        return clip
    last = _LAST.get(engine)
    if last is None or last.made_of is not clip or list(last.clip.patcher.lora_patches) != list(networks):
        clone = clip.clone()
        clone.patcher.lora_patches = networks
        last = _LAST[engine] = _Clip(clip, clone)
    return last.clip
