"""What the page's JavaScript is told beside the plan: it says it on closed folds, in controls and beside the host's."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class PageState:
    """The panel of one tab at one moment (javascript/diversity_panel.mjs).

    Attributes:
        tab: "txt2img" or "img2img".
        prefix: of the ids of this script's elements on this tab.
        ticked: whether the box is.
        line: what stands on the fold, right of the box; "" for nothing.
        refused: whether the line is why nothing can run.
        groups: what is not as it comes, by group.
        idle: why an option has no effect, by its name.
        found: what a control that leaves something open comes to, by its name.
        tops: how far a slider goes, by its name; what is typed beside it may go on.
        loaded: the checkpoint that the list of files is for, with a sign of whether it is loaded yet; "" if not known.
        loaded_is: as the option of that name; the list is for the other part.
        unsure: a sentence that asks for the family, "" where it is certain or was said.
        host: what is to be said beside the host's own controls: `sampler`, `cfg`, `negative`.
        own: the host's own settings that a paste may replace, as they are.
        compare: why there is nothing to compare, by the DT-preview or by Try it, "" if there is.
        trial: what Try it makes and costs.
        folder: where the host writes this tab's images, "" if that is not to be told.
    """

    tab: str
    prefix: str
    ticked: bool = False
    line: str = ""
    refused: bool = False
    groups: Mapping[str, str] = field(default_factory=dict[str, str])
    idle: Mapping[str, str] = field(default_factory=dict[str, str])
    found: Mapping[str, str] = field(default_factory=dict[str, str])
    tops: Mapping[str, float] = field(default_factory=dict[str, float])
    loaded: str = ""
    loaded_is: str = ""
    unsure: str = ""
    host: Mapping[str, str] = field(default_factory=dict[str, str])
    own: Mapping[str, Any] = field(default_factory=dict[str, Any])
    compare: str = ""
    trial: str = ""
    folder: str = ""

    def around(self, inner: str) -> str:
        """The plan's HTML in an element that carries this."""
        return f'<div class="diversity-told" data-state="{html.escape(json.dumps(asdict(self)))}">{inner}</div>'
