"""Values that the page's components start with, kept in ui-config.json.

The file is written with every component's own default the first time that the page is built, and read from then on:
what a later version of an extension gives its component as default is passed over, unless the component has
`do_not_save_to_config`. Kinds are compared exactly, so a class derived from one of gradio's takes no part.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr

from modules import errors
from modules.ui_components import InputAccordion, ToolButton

_FIELDS: dict[Any, tuple[str, ...]] = {
    gr.Slider: ("value", "minimum", "maximum", "step"),
    gr.Radio: ("value",),
    gr.Checkbox: ("value",),
    gr.Textbox: ("value",),
    gr.Number: ("value",),
    gr.Dropdown: ("value",),
    ToolButton: (),
    gr.Button: (),
}
"""What is kept of each kind, besides whether it shows (of what does show)."""


def radio_choices(comp: Any) -> list[Any]:
    """The names alone, where they come with values."""
    return [x[0] if isinstance(x, tuple) else x for x in getattr(comp, "choices", None) or []]


def _tab_exists(tabs: Any, wanted: Any) -> bool:
    ids = [x.id for x in tabs.children if isinstance(x, gr.TabItem)]
    if isinstance(wanted, str):
        return wanted in ids
    return isinstance(wanted, int) and 0 <= wanted < len(ids)


def _acceptable(component: Any, field: str, value: Any) -> bool:
    if field == "selected":
        return _tab_exists(component, value)
    if field != "value" or type(component) not in (gr.Radio, gr.Dropdown):
        return True
    choices = radio_choices(component)
    wanted = value if getattr(component, "multiselect", False) else [value]
    return all(x in choices for x in wanted)


def _as_kept(component: Any, field: str) -> Any:
    """gradio 4 gives an empty text box None."""
    value = getattr(component, field)
    return (
        "" if value is None and field == "value" and gr.__version__ >= "4" and type(component) is gr.Textbox else value
    )


def _as_shown(component: Any, field: str, value: Any) -> Any:
    """ValueError for what is no number."""
    if field == "value" and isinstance(component, gr.Textbox):
        return str(value)
    return float(value) if field == "value" and isinstance(component, gr.Number) else value


class UiLoadsave:
    def __init__(self, filename: str) -> None:
        self.filename = filename
        self.ui_settings: dict[str, Any] = {}
        self.component_mapping: dict[str, Any] = {}
        self.error_loading = self.finalized_ui = False
        self.ui_defaults_view: Any = None
        self.ui_defaults_apply: Any = None
        self.ui_defaults_review: Any = None
        try:
            self.ui_settings = self.read_from_file()
        except FileNotFoundError:
            pass
        except Exception as fault:  # the page is built all the same, and the file left as it is
            self.error_loading = True
            errors.display(fault, f"reading {filename}")

    def _keep(self, path: str, component: Any, field: str) -> None:
        """Gives the component what is kept of it, or keeps what it has."""
        if getattr(component, "do_not_save_to_config", False):
            return
        source = getattr(component, "custom_script_source", None)
        key = f"{path}/{field}" if source is None else f"customscript/{source}/{path}/{field}"
        attribute = "open" if isinstance(component, gr.Accordion) and field == "value" else field
        kept = self.ui_settings.get(key)
        if kept is None:
            self.ui_settings[key] = _as_kept(component, attribute)
        elif _acceptable(component, field, kept):
            try:
                setattr(component, attribute, _as_shown(component, field, kept))
            except ValueError:
                return
        if field == "value":
            self.component_mapping.setdefault(key, component)

    def add_component(self, path: str, x: Any) -> None:
        assert not self.finalized_ui
        if type(x) in _FIELDS:
            for field in (*(("visible",) if x.visible else ()), *_FIELDS[type(x)]):
                self._keep(path, x, field)
        elif type(x) == InputAccordion:  # noqa: E721 (a function on Forge, whose accordions are therefore not kept)
            self._keep_accordion(path, x)
        elif type(x) is gr.Tabs:
            self._keep(path, x, "selected")

    def _keep_accordion(self, path: str, x: Any) -> None:
        if hasattr(x, "custom_script_source"):
            x.accordion.custom_script_source = x.custom_script_source
        if x.accordion.visible:
            self._keep(path, x.accordion, "visible")
        self._keep(path, x, "value")
        self._keep(path, x.accordion, "value")

    def add_block(self, x: Any, path: str = "") -> None:
        """All components inside; each is called by its label, so those of one label on a tab share what is kept."""
        if hasattr(x, "children"):
            if isinstance(x, gr.Tabs) and x.elem_id is not None:
                self.add_component(f"{path}/Tabs@{x.elem_id}", x)
            for child in x.children:
                self.add_block(child, path)
        elif getattr(x, "label", None) is not None:
            self.add_component(f"{path}/{x.label}", x)
        elif isinstance(x, gr.Button) and x.value is not None:
            self.add_component(f"{path}/{x.value}", x)

    def read_from_file(self) -> dict[str, Any]:
        with open(self.filename, encoding="utf8") as file:
            return json.load(file)

    def write_to_file(self, current_ui_settings: dict[str, Any]) -> None:
        with open(self.filename, "w", encoding="utf8") as file:
            json.dump(current_ui_settings, file, indent=4, ensure_ascii=False)

    def dump_defaults(self) -> None:
        """A file that could not be read is left alone."""
        if not (self.error_loading and os.path.exists(self.filename)):
            self.write_to_file(self.ui_settings)

    def iter_changes(self, kept: dict[str, Any], values: Sequence[Any]) -> Iterator[tuple[str, Any, Any]]:
        """Path, value in the file and value on the page, of those that differ."""
        for (path, component), shown in zip(self.component_mapping.items(), values, strict=False):
            before, choices = kept.get(path), radio_choices(component)
            if isinstance(shown, int) and choices:  # a component that sends its choice's number
                if shown >= len(choices):
                    continue
                shown = choices[shown]
            empty = shown == [] or (before is None and shown == "")
            if shown != before and not empty:
                yield path, before, shown

    def ui_view(self, *values: Any) -> str:
        changes = list(self.iter_changes(self.read_from_file(), values))
        rows = "".join(f"<tr><td>{path}</td><td>{a}</td><td>{b}</td></tr>" for path, a, b in changes)
        head = "<tr><th>Component</th><th>Old default</th><th>New default</th></tr>"
        return f"<table>{head}{rows}</table>" if changes else "No changes."

    def ui_apply(self, *values: Any) -> str:
        kept = self.read_from_file()
        changes = {path: value for path, _, value in self.iter_changes(kept, values)}
        if changes:
            self.write_to_file({**kept, **changes})
        return f"Wrote {len(changes)} changes." if changes else "No changes."

    def create_ui(self) -> None:
        """The components alone; they work after `setup_ui`."""
        gr.HTML(f"What the page shows now becomes what it starts with after Reload UI; kept in {self.filename}.")
        with gr.Row():
            self.ui_defaults_view = gr.Button(value="View changes", elem_id="ui_defaults_view")
            self.ui_defaults_apply = gr.Button(value="Apply", elem_id="ui_defaults_apply", variant="primary")
        self.ui_defaults_review = gr.HTML("", elem_id="ui_defaults_review")

    def setup_ui(self) -> None:
        assert not self.finalized_ui
        self.finalized_ui = True
        inputs = list(self.component_mapping.values())
        for button, function in ((self.ui_defaults_view, self.ui_view), (self.ui_defaults_apply, self.ui_apply)):
            button.click(fn=function, inputs=inputs, outputs=[self.ui_defaults_review])
