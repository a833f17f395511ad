"""Changes to gradio 4.40 that extensions rely on: arguments of gradio 3 are accepted (`_js`, `tooltip`, `source`) or
passed over, and every component is announced to scripts.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import gradio as gr
import gradio.component_meta  # pyright: ignore[reportMissingImports]
import gradio.processing_utils

from modules import ui_gradio_extensions


class _Event:
    """An event of a component that takes gradio 3's `_js` for `js`; else the event itself."""

    def __init__(self, event: Any) -> None:
        self._event = event

    def __getattr__(self, name: str) -> Any:
        if name == "_event":
            raise AttributeError(name)  # of a copy that is only being made
        return getattr(self._event, name)

    def __call__(self, *args: Any, _js: str | None = None, **kwargs: Any) -> Any:
        return self._event(*args, **kwargs, **({} if _js is None else {"js": _js}))


def _with_old_arguments(make: Callable[..., None]) -> Callable[..., None]:
    known = set(inspect.signature(make).parameters)

    @functools.wraps(make)
    def init(self: Any, *args: Any, tooltip: str | None = None, source: str | None = None, **kwargs: Any) -> None:
        given = {name: value for name, value in kwargs.items() if name in known}
        make(self, *args, **given, **({"sources": [source]} if source else {}))
        self.webui_tooltip = tooltip
        vars(self).update({str(name): _Event(getattr(self, str(name))) for name in self.EVENTS})

    return init


def _save_pil_to_cache(img: Any, cache_dir: str, name: str = "image", format: str = "png") -> str:
    del name, format
    return ui_gradio_extensions.write_png(img, cache_dir)


# It writes a .pyi file beside every component's module.
gradio.component_meta.create_or_modify_pyi = lambda *_args: None
gradio.component_meta.updateable = lambda make: make
gradio.processing_utils.save_pil_to_cache = _save_pil_to_cache
gr.components.Component.__init__ = ui_gradio_extensions.announced(gr.components.Component.__init__)
gr.blocks.BlockContext.__init__ = ui_gradio_extensions.announced(gr.blocks.BlockContext.__init__)
for _kind in {getattr(gr, _name, None) for _name in (*gr.components.__all__, *gr.layouts.__all__)}:
    if getattr(_kind, "EVENTS", None):
        _kind.__init__ = _with_old_arguments(_kind.__init__)  # type: ignore[union-attr]
        _kind.update = gr.update  # type: ignore[union-attr]
gr.Box = gr.Group  # pyright: ignore[reportAttributeAccessIssue]
ui_gradio_extensions.tell_tooltips(without=("example_inputs",))
