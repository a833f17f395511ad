"""One gradio component for each argument, built from what its field says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr  # pyright: ignore[reportMissingTypeStubs]

from extension_core.errors import DiversityError
from extension_core.options.fields import Field, parse_value


@dataclass(frozen=True)
class HostParts:
    """What the panels take from their host.

    Attributes:
        accordion: the host's `InputAccordion`.
        models: names for the model dropdown.
        samplers: names for the base sampler dropdown.
        refresh_button: adds the host's refresh button for a dropdown: (component, elem_id).
        elem_id: the host's id for an element of this script on this tab.
        tooltip: keyword arguments that show a text as the host shows tooltips.
        is_page: whether people will see what is built, not an API that fills up its requests from it.
        saved: what the user has saved as the start of the component of a label, None if nothing.
    """

    accordion: Callable[..., Any]
    models: Callable[[], list[str]]
    samplers: Callable[[], list[str]]
    refresh_button: Callable[[Any, str], Any]
    elem_id: Callable[[str], str]
    tooltip: Callable[[str], dict[str, Any]]
    is_page: bool = True
    saved: Callable[[str], Any] = lambda _label: None


@dataclass(frozen=True)
class Reach:
    """How far a slider goes and in which steps; a number typed beside it may go on to the field's maximum.

    gradio has one end for both, and cuts a typed number off there: so it is given the field's, and the JavaScript ends
    the slider alone (javascript/diversity_panel_controls.mjs).
    """

    top: float
    step: float = 0.1


def component(spec: Field, default: Any, host: HostParts, elem_id: str, reach: Reach | None = None) -> Any:
    """The component of a field inside the current gradio Blocks.

    Args:
        elem_id: before the host has made an id of this page of it.
        reach: of a number's slider.
    """
    if host.is_page and spec.on_page is not None:
        default = spec.on_page
    default = _saved_before(spec, default, host)
    common: dict[str, Any] = {"label": spec.label, "elem_id": host.elem_id(elem_id), **host.tooltip(spec.tooltip)}
    common["elem_classes"] = ["diversity-control"]
    if spec.kind == "flag":
        return gr.Checkbox(value=default, **common)
    if spec.kind == "model":
        models = ["None", *host.models()]
        return gr.Dropdown(choices=models, value=default if default in models else "None", **common)
    if spec.kind == "sampler":
        return gr.Dropdown(choices=["same", *host.samplers()], value="same", **common)
    if spec.kind == "choice":
        return gr.Dropdown(choices=list(spec.choices), value=default, **common)
    if spec.kind == "numbers":
        return gr.Textbox(value=", ".join(f"{one:g}" for one in default), max_lines=1, **common)
    if reach is None:
        return gr.Textbox(value=default, **common)
    if spec.kind == "whole_or_null":
        common["label"] += f" (0 = {spec.zero})"
        return gr.Slider(minimum=0, maximum=spec.maximum, step=1, value=spec.as_shown(default), **common)
    step = 1 if spec.kind == "whole" else reach.step
    return gr.Slider(minimum=spec.minimum, maximum=spec.maximum, step=step, value=default, **common)


def _saved_before(spec: Field, default: Any, host: HostParts) -> Any:
    """What was saved as its start under a label that it had before, unless something is under the one it has."""
    labels = spec.earlier_labels if host.is_page and host.saved(spec.label) is None else ()
    saved = next((value for label in labels if (value := host.saved(label)) is not None), None)
    if saved is None:
        return default
    try:
        parse_value(spec, saved)
    except DiversityError:
        return default
    return saved
