"""Changes to gradio 4.40 that the host makes and extensions rely on.

Arguments of gradio 3 are accepted (`_js`, `tooltip`, `source`) or passed over; every component is announced to scripts
before and after it is made, and has a class "gradio-<kind>".
"""

from __future__ import annotations

import functools
import inspect
import warnings
from typing import Any

import gradio as gr
import gradio.component_meta  # pyright: ignore[reportMissingImports]
import gradio.processing_utils

from modules import script_callbacks, scripts, ui_tempdir


class GradioDeprecationWarning(DeprecationWarning):
    """An argument that gradio 4 does not know."""


def add_classes_to_gradio_component(comp: Any) -> None:
    comp.elem_classes = [f"gradio-{comp.get_block_name()}", *(getattr(comp, "elem_classes", None) or [])]
    if getattr(comp, "multiselect", False):
        comp.elem_classes.append("multiselect")


def _announced(original: Any) -> Any:
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        runner = scripts.scripts_current
        if runner is not None:
            runner.before_component(self, **kwargs)
        script_callbacks.before_component_callback(self, **kwargs)
        original(self, *args, **kwargs)
        add_classes_to_gradio_component(self)
        script_callbacks.after_component_callback(self, **kwargs)
        if runner is not None:
            runner.after_component(self, **kwargs)

    return init


def _config(self: Any) -> Any:
    config = _get_config(self)
    if tooltip := getattr(self, "webui_tooltip", None):
        config["webui_tooltip"] = tooltip
    config.pop("example_inputs", None)
    return config


class EventWrapper:
    """An event that takes `_js` for `js`."""

    def __init__(self, event: Any) -> None:
        self.event = event
        for name in ("has_trigger", "event_name", "callback", "__self__"):
            vars(self)[name] = getattr(event, name, None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if "_js" in kwargs:
            kwargs["js"] = kwargs.pop("_js")
        return self.event(*args, **kwargs)


def _tolerant(kind: Any) -> None:
    """Lets a component's class be made with arguments that it does not know, and wraps its events."""
    original = kind.__init__
    known = inspect.signature(original).parameters

    @functools.wraps(original)
    def init(self: Any, *args: Any, tooltip: str | None = None, source: str | None = None, **kwargs: Any) -> None:
        if source:
            kwargs["sources"] = [source]
        for name in [name for name in kwargs if name not in known]:
            del kwargs[name]
            warnings.warn(f"{kind.__name__} has no argument {name}", GradioDeprecationWarning, stacklevel=2)
        original(self, *args, **kwargs)
        self.webui_tooltip = tooltip
        for event in map(str, self.EVENTS):
            setattr(self, event, EventWrapper(getattr(self, event)))

    kind.__init__ = init
    kind.update = gr.update


def _no_stub_files(*_args: Any) -> None:
    """gradio writes a .pyi file beside every module that has a component; not here."""


def _save_pil_to_cache(img: Any, cache_dir: str, name: str = "image", format: str = "png") -> str:
    del name, format
    return ui_tempdir.write_png(img, cache_dir)


gradio.component_meta.create_or_modify_pyi = _no_stub_files
gradio.component_meta.updateable = lambda fn: fn
_get_config = gr.blocks.Block.get_config
gr.components.Component.__init__ = _announced(gr.components.Component.__init__)
gr.blocks.BlockContext.__init__ = _announced(gr.blocks.BlockContext.__init__)
gr.blocks.Block.get_config = _config
for _kind in {getattr(gr, _name, None) for _name in (*gr.components.__all__, *gr.layouts.__all__)}:
    if getattr(_kind, "EVENTS", None):
        _tolerant(_kind)
gr.Box = gr.Group  # pyright: ignore[reportAttributeAccessIssue]
gradio.processing_utils.save_pil_to_cache = _save_pil_to_cache
