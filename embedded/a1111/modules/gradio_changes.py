"""Changes to gradio 3.41 that extensions rely on: any component takes `tooltip` and is announced to scripts."""

from __future__ import annotations

from typing import Any

import gradio as gr

from modules import ui_gradio_extensions

_component_init = ui_gradio_extensions.announced(gr.components.IOComponent.__init__)


def _with_tooltip(self: Any, *args: Any, tooltip: str | None = None, **kwargs: Any) -> None:
    self.webui_tooltip = tooltip
    _component_init(self, *args, **kwargs)


def _pil_to_temp_file(self: Any, pil_image: Any, dir: Any = None, format: str = "png") -> str:
    del self, format
    return ui_gradio_extensions.write_png(pil_image, dir)


gr.components.IOComponent.__init__ = _with_tooltip  # type: ignore[method-assign]
gr.components.IOComponent.pil_to_temp_file = _pil_to_temp_file  # type: ignore[method-assign]
gr.blocks.BlockContext.__init__ = ui_gradio_extensions.announced(gr.blocks.BlockContext.__init__)  # type: ignore[method-assign]
ui_gradio_extensions.tell_tooltips()
