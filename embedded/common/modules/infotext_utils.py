"""Reading an infotext back: into parameters, into the page's fields, into settings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from PIL import Image

from modules import errors, script_callbacks, shared, text_chunks
from modules.paths import data_path

_ENTRY = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)')
_SIZE = re.compile(r"(\d+)x(\d+)")
_NEGATIVE = "Negative prompt:"
# What an infotext does not name was at its default when the picture was made.
_ABSENT: dict[str, Any] = {
    "Clip skip": "1",
    "RNG": "GPU",
    "Schedule type": "Automatic",
    **dict.fromkeys(("VAE Encoder", "VAE Decoder"), "Full"),
    **dict.fromkeys(("Schedule max sigma", "Schedule min sigma", "Schedule rho"), 0),
    **dict.fromkeys(("Hires resize-1", "Hires resize-2"), 0),
    "Hires sampler": "Use same sampler",
    "Hires schedule type": "Use same scheduler",
    "Hires checkpoint": "Use same checkpoint",
    **dict.fromkeys(("Hires prompt", "Hires negative prompt"), ""),
    "Mask mode": "Inpaint masked",
    "Masked content": "original",
    "Inpaint area": "Whole picture",
    "Masked area padding": 32,
    "Refiner switch by sampling steps": False,
}


class PasteField(NamedTuple):
    """A component, and where its value comes from: a label of the infotext, or a function of all parameters.

    Attributes:
        api: the same field of a request.
    """

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

    fields: list[PasteField]
    overrides: Any
    picture: Any = None


@dataclass(eq=False)
class Sending:
    """A button that puts a picture, a text or another tab's values into a tab and shows that."""

    button: Any
    target: str
    text: Any = None
    picture: Any = None
    values_of: str | None = None
    value_names: Collection[Any] = field(default_factory=tuple)


paste_fields: dict[str, Tab] = {}
_sendings: list[Sending] = []


def reset() -> None:
    """For a page that is built anew."""
    paste_fields.clear()
    _sendings.clear()


def send(sending: Sending) -> None:
    """Connected once all tabs are there."""
    _sendings.append(sending)


def connect_buttons() -> None:
    for sending in _sendings:
        tab = paste_fields[sending.target]
        if sending.text is not None:
            _connect_text(sending, tab)
        if sending.picture is not None and tab.picture is not None:
            is_gallery = isinstance(sending.picture, gr.Gallery)
            sending.button.click(
                fn=_of_gallery if is_gallery else lambda picture: picture,
                _js="selectedPicture" if is_gallery else None,
                inputs=[sending.picture],
                outputs=[tab.picture],
            )
        if sending.values_of is not None:
            _connect_values(sending, paste_fields[sending.values_of], tab)
        sending.button.click(fn=None, _js=f"() => showTab('{sending.target}')", inputs=[], outputs=[])


def _of_gallery(chosen: Any) -> Any:
    """The picture of what a gallery passes on: a list of one, as a file or with its caption."""
    item = chosen
    while isinstance(item, (list, tuple)):
        item = item[0] if item else None
    return Image.open(item["name"].partition("?")[0]) if isinstance(item, dict) else item


def _connect_text(sending: Sending, tab: Tab) -> None:
    named = {known.target for known in tab.fields if isinstance(known.target, str)}

    def overrides(params: dict[str, Any]) -> Any:
        pairs = [f"{label}: {value}" for label, _, value in get_override_settings(params, skip_fields=named)]
        return gr.update(value=pairs, choices=pairs, visible=bool(pairs))

    fields = [*tab.fields, PasteField(tab.overrides, overrides)]

    def paste(text: str) -> list[Any]:
        told = text or last_infotext()
        params = parse_generation_parameters(told)
        script_callbacks.infotext_pasted_callback(told, params)
        return [update_of(known, params) for known in fields]

    outputs = [known.component for known in fields]
    sending.button.click(fn=paste, inputs=[sending.text], outputs=outputs, show_progress=False)


def _connect_values(sending: Sending, source: Tab, tab: Tab) -> None:
    names = {"Prompt", "Negative prompt", "Steps", "Seed", *sending.value_names}
    sending.button.click(
        fn=lambda *values: values,
        inputs=[known.component for known in source.fields if known.target in names],
        outputs=[known.component for known in tab.fields if known.target in names],
        show_progress=False,
    )


def last_infotext() -> str:
    """That of the last generation, which is pasted where the prompt is empty."""
    file = Path(data_path) / "params.txt"
    return file.read_text("utf-8") if file.exists() else ""


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


def parse_generation_parameters(x: str, skip_fields: Collection[str] = ()) -> dict[str, Any]:
    """Prompts and all values by name, but those to be skipped; defaults for what the text does not name."""
    prompts, _, line = x.strip().rpartition("\n")
    if len(_ENTRY.findall(line)) < 3:  # no line of values
        prompts, line = x.strip(), ""
    prompt, _, negative = prompts.partition(_NEGATIVE)
    values = {**_ABSENT, **_read_line(line), "Prompt": prompt.strip(), "Negative prompt": negative.strip()}
    weighed = [piece for text in (prompt, negative) for piece in text_chunks.parse_prompt_attention(text)]
    if any(weight != 1.0 and text != "BREAK" for text, weight in weighed):
        values.setdefault("Emphasis", "Original")
    return {name: value for name, value in values.items() if name not in skip_fields}


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
