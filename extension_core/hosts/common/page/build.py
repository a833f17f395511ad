"""The panel: its components, what it shows of the host's own settings, and pasting."""

from __future__ import annotations

import functools
from typing import Any

import gradio as gr
from gradio.context import Context
from modules import sd_samplers, ui_common, ui_components

from extension_core.hosts.common.files import choices, pasted
from extension_core.hosts.common.page import host_components, restored_settings, updates
from extension_core.hosts.common.page.saved_defaults import saved_by_label
from extension_core.hosts.protocols import Host
from extension_core.options.positions import in_positions
from extension_core.ui import components, panel, pasting, preview


def build(host: Host, script: Any, host_settings: dict[str, Any]) -> list[Any]:
    """Build the accordions for a script on its tab and register their infotext fields on the script."""
    tab = "img2img" if script.is_img2img else "txt2img"
    parts = components.HostParts(
        accordion=ui_components.InputAccordion,
        models=functools.cache(_labels),
        samplers=lambda: [sampler.name for sampler in sd_samplers.visible_samplers()],
        refresh_button=_refresh_button,
        elem_id=script.elem_id,
        tooltip=lambda text: {"tooltip": text},
        is_page=Context.block is not Context.root_block,  # the API calls `ui` in Blocks of its own (1.10.1)
        saved=saved_by_label(script, tab),
    )
    built = panel.build(parts)
    paste = pasting.Pasting(pasted.label_of, pasted.detected, pasted.problem, restored_settings.pasted)
    script.infotext_fields = pasting.paste_fields(built.components, paste, built.pasted_line)
    script.paste_field_names = pasting.sent_along(script.infotext_fields)
    restored_settings.give_back(built.components[0], host_settings, tab)
    shown_on = updates.Tab(host, script.is_img2img, script.elem_id(""))
    files = host_components.Files(parts.models(), _labels, refreshed)
    host_components.keep_current(shown_on.shown, built, host_settings, script.is_img2img, files)
    return in_positions(built.components, preview.build(parts, tab))


def _refresh_button(component: Any, elem_id: str) -> Any:
    return ui_common.create_refresh_button(component, choices.refresh, refreshed, elem_id)


def refreshed() -> dict[str, Any]:
    """What the drop-down offers by now, as gradio keeps it: the host puts it into the component as it comes
    (modules/ui_common.py, 1.10.1), and gradio 4 makes pairs only of what a component is made with.
    """
    labels = ["None", *_listed()]
    return {"choices": [(label, label) for label in labels] if hasattr(gr, "on") else labels}


def _labels() -> list[str]:
    choices.look_again()
    return _listed()


def _listed() -> list[str]:
    return [choice.label for choice in choices.choices()]
