"""Reading an infotext back: into parameters, into the page's fields, into settings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import gradio as gr
from PIL import Image

from modules import errors, script_callbacks, shared

_ENTRY = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)')
_SIZE = re.compile(r"(\d+)x(\d+)")
# What an infotext does not name was at its default when the picture was made.
_ABSENT: dict[str, Any] = {
    "Clip skip": "1",
    "RNG": "GPU",
    "Schedule type": "Automatic",
    **dict.fromkeys(("Hires resize-1", "Hires resize-2"), 0),
    "Hires sampler": "Use same sampler",
    "Hires schedule type": "Use same scheduler",
    "Hires checkpoint": "Use same checkpoint",
    **dict.fromkeys(("Hires prompt", "Hires negative prompt"), ""),
}


class PasteField(NamedTuple):
    """A component, what its value comes from in an infotext, and the same field of a request."""

    component: Any
    target: str | Callable[[dict[str, Any]], Any]
    api: str | None = None

    def value(self, params: dict[str, Any]) -> Any:
        """None leaves the component as it is; so does a function that fails."""
        if isinstance(self.target, str):
            return params.get(self.target)
        try:
            return self.target(params)
        except Exception:
            errors.report(f"{self.target} could not read the infotext", exc_info=True)
            return None


@dataclass(eq=False)
class Tab:
    """Where a paste goes. `picture`: the component of its start picture, of None on txt2img."""

    name: str
    fields: list[PasteField]
    overrides: Any
    picture: Any = None


paste_fields: dict[str, Tab] = {}
_connections: list[Callable[[], None]] = []


def reset() -> None:
    """For a page that is built anew."""
    paste_fields.clear()
    _connections.clear()


def connect_buttons() -> None:
    """Once all tabs are there."""
    for connect in _connections:
        connect()


def sends(button: Any, target: str, text: Any = None, picture: Any = None, values: Any = None) -> None:
    """A button puts a text, a picture or another tab's values (its name, what they are pasted by) into a tab."""
    _connections.append(lambda: _connect(button, paste_fields[target], text, picture, values))


def _connect(button: Any, tab: Tab, text: Any, picture: Any, values: Any) -> None:
    if text is not None:
        named = {known.target for known in tab.fields if isinstance(known.target, str)}

        def overrides(params: dict[str, Any]) -> Any:
            pairs = [f"{label}: {value}" for label, _, value in get_override_settings(params, skip_fields=named)]
            return gr.update(value=pairs, choices=pairs, visible=bool(pairs))

        fields = [*tab.fields, PasteField(tab.overrides, overrides)]

        def paste(told: str) -> list[Any]:
            params = parse_generation_parameters(told)
            script_callbacks.infotext_pasted_callback(told, params)
            return [update_of(known, params) for known in fields]

        outputs = [known.component for known in fields]
        button.click(fn=paste, inputs=[text], outputs=outputs, show_progress=False)
    if picture is not None and tab.picture is not None:
        button.click(fn=_first_of, inputs=[picture], outputs=[tab.picture])
    if values is not None:
        source, names = paste_fields[values[0]], {"Prompt", "Negative prompt", "Steps", "Seed", *values[1]}
        inputs, outputs = ([x.component for x in y.fields if x.target in names] for y in (source, tab))
        button.click(fn=lambda *given: given, inputs=inputs, outputs=outputs, show_progress=False)
    button.click(fn=None, _js=f"() => showTab('{tab.name}')", inputs=[], outputs=[])


def _first_of(item: Any) -> Any:
    """The picture itself, or the first of a gallery's, which are files or come with captions."""
    while isinstance(item, (list, tuple)):
        item = item[0] if item else None
    return Image.open(item["name"].partition("?")[0]) if isinstance(item, dict) else item


def update_of(known: PasteField, params: dict[str, Any]) -> Any:
    """What a paste does to a component: text is read as the kind of value that it has now."""
    value = known.value(params)
    if value is None or isinstance(value, type(gr.update())):
        return gr.update() if value is None else value
    kind = type(known.component.value)
    try:
        return gr.update(value=as_kind(value, float if kind is int else kind))
    except (TypeError, ValueError):
        return gr.update()


def as_kind(value: Any, kind: type) -> Any:
    """Text of an infotext as a value of this type."""
    if kind is bool:
        return value not in (False, "False")
    return value if kind is type(None) or isinstance(value, kind) else kind(value)


def quote(text: Any) -> Any:
    """In JSON's quotes where it would be mistaken for more than one value, else as it is."""
    return json.dumps(text, ensure_ascii=False) if re.search("[,:\n]", str(text)) else text


def _unquoted(text: str) -> Any:
    try:
        return json.loads(text) if text.startswith('"') else text
    except ValueError:
        return text


def _read_line(line: str) -> dict[str, Any]:
    """Values by name; "128x64" becomes two, "-1" and "-2" behind their names."""
    found: dict[str, Any] = {}
    for name, written in _ENTRY.findall(line):
        value = _unquoted(written)
        sides = _SIZE.fullmatch(str(value))
        found.update(
            {f"{name}-{number}": side for number, side in enumerate(sides.groups(), 1)} if sides else {name: value}
        )
    return found


def parse_generation_parameters(x: str) -> dict[str, Any]:
    """Prompts and all values by name; defaults for what the text does not name."""
    prompts, _, line = x.strip().rpartition("\n")
    if len(_ENTRY.findall(line)) < 3:  # no line of values
        prompts, line = x.strip(), ""
    prompt, _, negative = prompts.partition("Negative prompt:")
    return {**_ABSENT, **_read_line(line), "Prompt": prompt.strip(), "Negative prompt": negative.strip()}


def _settings_by_label() -> list[tuple[str, str]]:
    return [(info.infotext, name) for name, info in shared.opts.data_labels.items() if info.infotext]


def create_override_settings_dict(text_pairs: list[str] | None) -> dict[str, Any]:
    """["Clip skip: 2"] -> {"CLIP_stop_at_last_layers": 2}."""
    told = dict(re.split(r":\s*", pair, maxsplit=1) for pair in text_pairs or ())
    named = [(setting, told[label]) for label, setting in _settings_by_label() if label in told]
    return {setting: shared.opts.cast_value(setting, text.strip()) for setting, text in named}


def get_override_settings(params: dict[str, Any], *, skip_fields: Collection[str] = ()) -> list[tuple[str, str, Any]]:
    """(label, setting, value) of settings that the parameters want other than they are."""
    wanted = []
    for label, setting in _settings_by_label():
        if label in params and label not in skip_fields and setting != "sd_model_checkpoint":
            value = shared.opts.cast_value(setting, params[label])
            if value != getattr(shared.opts, setting):
                wanted.append((label, setting, value))
    return wanted
