"""The host's engine with other parts, for one reader alone.

What reads a prompt and what runs a sampler is handed an engine and looks up its parts in `forge_objects`
(backend/diffusion_engine/sd15.py, backend/sampling/sampling_function.py, dfdcbab6). `shared.sd_model.forge_objects` is
everybody's, so a request that needs another part hands on a view instead of exchanging the part there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

Other = Callable[[Any], Any]


def view_of(engine: Any, **others: Other) -> Any:
    """The same object but for some parts: its class, methods and attributes, which are also written to it.

    Args:
        engine: the host's engine; the view is not to be kept longer than it.
        others: by the part's name (`unet`, `clip`), what the view has in the place of the engine's present one. It is
            asked again when the engine's has been exchanged, which other extensions do at any step.
    """
    view = object.__new__(_class_of_views(type(engine)))
    view.__dict__ = engine.__dict__
    view.view_engine, view.view_others, view.view_made = engine, others, None
    return view


@functools.cache
def _class_of_views(kind: type) -> Any:
    # What has a slot or is a property is found before the `__dict__` that is shared.
    slots = ("view_engine", "view_others", "view_made")
    return type(kind.__name__, (kind,), {"__slots__": slots, "forge_objects": property(_forge_objects)})


def _forge_objects(view: Any) -> Any:
    others: Mapping[str, Other] = view.view_others
    now = view.view_engine.forge_objects
    parts = [getattr(now, name) for name in others]
    made = view.view_made
    if made is None or any(part is not before for part, before in zip(parts, made[0], strict=True)):
        objects = now.shallow_copy()
        for (name, other), part in zip(others.items(), parts, strict=True):
            setattr(objects, name, other(part))
        made = view.view_made = parts, objects
    return made[1]
