"""The host's X/Y/Z plot over the API."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.e2e.client import Reply, WebUI

_FACT = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
SCRIPT = "x/y/z plot"
NOTHING = "Nothing"


@dataclass(frozen=True)
class Along:
    """One axis: its label in the host's drop-down, and its values as they are typed, or as they are chosen."""

    label: str
    values: str | Sequence[str]


def axis_labels(webui: WebUI, tab: str = "txt2img") -> list[str]:
    """The drop-down's choices, in its order; the API takes their places."""
    scripts = webui.get("/sdapi/v1/script-info")
    info = next(x for x in scripts if x["name"] == SCRIPT and x["is_img2img"] == (tab == "img2img"))
    return info["args"][0]["choices"]


def script_args(labels: Sequence[str], *axes: Along, lone: bool = True, legend: bool = True) -> list[Any]:
    """Arguments of the script (scripts/xyz_grid.py `run`, 1.10.1) for one to three axes."""
    args: list[Any] = []
    for axis in [*axes, *[Along(NOTHING, "")] * (3 - len(axes))]:
        typed = isinstance(axis.values, str)
        args += [labels.index(axis.label), axis.values if typed else "", [] if typed else list(axis.values)]
    sub_grids, no_fixed_seeds, vary_seeds, margin, csv_mode = False, False, [False] * 3, 0, False
    return [*args, legend, lone, sub_grids, no_fixed_seeds, *vary_seeds, margin, csv_mode]


def told(text: str) -> tuple[str, dict[str, str]]:
    """An infotext: the prompts, and what stands below them in any order, as copies of a request share a dict."""
    prompts, _, facts = text.rpartition("\n")
    return prompts, dict(_FACT.findall(facts))


def plot(webui: WebUI, model: str, *axes: Along, settings: dict[str, Any] | None = None, **request: Any) -> Reply:
    """The grid first, then the cells: along x, then y, then z."""
    tab = "img2img" if "img2img" in request.get("path", "") else "txt2img"
    args = script_args(axis_labels(webui, tab), *axes)
    return webui.generate(model, settings, script_name=SCRIPT, script_args=args, **request)
