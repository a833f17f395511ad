"""The host's own settings that a paste replaces: the page's JavaScript is told of them, and gives them back.

What a picture was made with goes into the host's steps, sampler, schedule and CFG when its infotext is pasted: few
steps, LCM, CFG 1. They are no good for the next image without us, so they come back when the box is unticked
(javascript/diversity_panel_own.mjs), but for what has been changed since. All of it happens on the page, by gradio's
own events, for there alone is known what stood there when something was pressed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from modules import sd_samplers

# By the fields of a request, as in `following.HOST_SETTINGS`.
OWN = ("steps", "sampler_name", "scheduler", "cfg_scale")

_TELL = """(...values) => {{
    const detail = {{ tab: "{tab}", names: {names}, values }};
    document.dispatchEvent(new CustomEvent("diversity-own", {{ detail }}));
}}"""
# gradio passes what goes in, then what comes out.
_GIVE_BACK = """(ticked, ...values) => {{
    const names = {names};
    const detail = {{ tab: "{tab}", names, ticked, values: values.slice(0, names.length), back: {{}} }};
    document.dispatchEvent(new CustomEvent("diversity-box", {{ detail }}));
    return names.map((name) => ({{ __type__: "update", ...(name in detail.back && {{ value: detail.back[name] }}) }}));
}}"""


def give_back(box: Any, settings: Mapping[str, Any], tab: str) -> None:
    """Tell the page of every change of these settings, and of the box, whereupon it may set them."""
    own = {name: settings[name] for name in OWN if name in settings}
    components = list(own.values())
    words = {"tab": tab, "names": json.dumps(list(own))}
    quiet: dict[str, Any] = {"fn": None, "show_progress": False, "queue": False}
    for component in components:
        component.change(_js=_TELL.format(**words), inputs=components, **quiet)
    if len(components) > 1:
        box.change(_js=_GIVE_BACK.format(**words), inputs=[box, *components], outputs=components, **quiet)


def of_request(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the page's settings, for the page's JavaScript, which hears of changes alone."""
    return {name: settings[name] for name in OWN if settings.get(name) is not None}


def pasted(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """What the host puts into its own controls for a parsed infotext."""
    entries = dict(parsed)
    numbers = {"steps": _number(entries.get("Steps")), "cfg_scale": _number(entries.get("CFG scale"))}
    found: dict[str, Any] = {name: number for name, number in numbers.items() if number is not None}
    if entries.get("Sampler"):
        found["sampler_name"] = sd_samplers.get_sampler_from_infotext(entries)
        found["scheduler"] = sd_samplers.get_scheduler_from_infotext(entries)
    return found


def _number(said: Any) -> float | None:
    try:
        number = float(said)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
