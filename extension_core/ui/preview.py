"""The DT-preview's accordion: what is recorded, and the place where the page's JavaScript draws the strip."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr  # pyright: ignore[reportMissingTypeStubs]

from extension_core.options.preview import PAGE_FIELDS, PreviewOptions
from extension_core.ui.components import HostParts, Reach, component

_SWITCH, _PAGE = "preview", "page"
# Which options share a row.
ROWS: tuple[tuple[str, ...], ...] = (("every", "timesteps", "decoder"), ("save", "gallery"))
# By what the element of an option is called.
REACHES = {"dt_every": Reach(20)}


def build(host: HostParts, tab: str) -> list[Any]:
    """Build the accordion inside the current gradio Blocks; one input for each of the page's arguments, in their order.

    Args:
        tab: "txt2img" or "img2img", for the page's JavaScript (javascript/diversity_dt.mjs).
    """
    made: dict[str, Any] = {}
    specs, defaults = {spec.name: spec for spec in PAGE_FIELDS}, PreviewOptions()

    def make(name: str) -> None:
        made[name] = component(specs[name], getattr(defaults, name), host, _elem_id(name), REACHES.get(_elem_id(name)))

    label, switch_id = specs[_SWITCH].label, host.elem_id(_elem_id(_SWITCH))
    with host.accordion(False, label=label, elem_id=switch_id) as made[_SWITCH]:
        for row in ROWS:
            with gr.Row(elem_classes=["diversity-row"]):
                for name in row:
                    make(name)
        # The page writes its secret here. It is hidden by style.css: what gradio itself hides is not sent everywhere.
        with gr.Row(elem_classes=["diversity-page"]):
            make(_PAGE)
        made[_PAGE].do_not_save_to_config = True
        gr.HTML(value=_root_html(tab, switch_id, host.elem_id(_elem_id(_PAGE))), elem_id=host.elem_id("dt_strip"))
    return [made[spec.name] for spec in PAGE_FIELDS]


def _elem_id(name: str) -> str:
    return f"dt_{name}"


def _root_html(tab: str, switch_id: str, page_id: str) -> str:
    """The element that the JavaScript fills: it says which tab it is on, and where switch and page key are."""
    names = {"tab": tab, "switch": f"{switch_id}-checkbox", "page": page_id}
    data = " ".join(f'data-{name}="{html.escape(value)}"' for name, value in names.items())
    return f'<div class="diversity-dt" {data}></div>'
