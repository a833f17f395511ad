"""Settings: what each is called and defaults to, their values, and the file they are kept in."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from modules import errors
from modules.shared_cmd_options import cmd_opts


@dataclasses.dataclass(eq=False, repr=False)
class OptionInfo:
    """One setting. `component_args` may be a callable, asked again whenever the page is built."""

    default: Any = None
    label: str = ""
    component: Any = None
    component_args: Any = None
    onchange: Callable[[], Any] | None = None
    section: tuple[str | None, str] | None = None
    refresh: Any = None
    comment_before: str = ""
    comment_after: str = ""
    infotext: str | None = None
    restrict_api: bool = False
    category_id: str | None = None
    do_not_save: bool = dataclasses.field(init=False, default=False)

    def link(self, label: str, url: str) -> OptionInfo:
        return self._before(f"<a href='{url}' target='_blank'>{label}</a>")

    def js(self, label: str, js_func: str) -> OptionInfo:
        return self._before(f"<a onclick='{js_func}(); return false'>{label}</a>")

    def _before(self, anchor: str) -> OptionInfo:
        self.comment_before += f"[{anchor}]"
        return self

    def info(self, info: str) -> OptionInfo:
        return self.html(f"<span class='info'>({info})</span>")

    def html(self, html: str) -> OptionInfo:
        self.comment_after += html
        return self

    def needs_restart(self) -> OptionInfo:
        return self.html(" <span class='info'>(requires restart)</span>")

    def needs_reload_ui(self) -> OptionInfo:
        return self.html(" <span class='info'>(requires Reload UI)</span>")


class OptionHTML(OptionInfo):
    """Text between settings; has no value."""

    def __init__(self, text: str) -> None:
        super().__init__(str(text).strip(), component=lambda **kwargs: gr.HTML(elem_classes="settings-info", **kwargs))
        self.do_not_save = True


def options_section(section_identifier: tuple[Any, ...], options_dict: dict[str, OptionInfo]) -> dict[str, OptionInfo]:
    """Puts a section's name, and as third item its category, on every setting of `options_dict`."""
    for info in options_dict.values():
        info.section = (section_identifier[0], section_identifier[1])
        if len(section_identifier) == 3:
            info.category_id = section_identifier[2]
    return options_dict


def _refuse_if_frozen() -> None:
    assert not cmd_opts.freeze_settings, "the settings are frozen (--freeze-settings)"


def _read(filename: str) -> dict[str, Any]:
    try:
        return json.loads(Path(filename).read_text(encoding="utf8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        errors.report(f"{filename} is not valid JSON and was moved aside; all settings are at defaults", exc_info=True)
        os.replace(filename, filename + ".corrupt")
        return {}


_own_fields = {"data_labels", "data", "restricted_opts", "typemap"}


class Options:
    """Attribute access to the settings. A setting missing in `data` (never saved) reads as its default; so an override
    of it cannot be told apart from a saved value later, which is why `process_images` does not restore such a one.
    """

    typemap: dict[type, type] = {int: float}
    data: dict[str, Any]
    data_labels: dict[str, OptionInfo]

    def __init__(self, data_labels: dict[str, OptionInfo], restricted_opts: set[str]) -> None:
        self.data_labels = data_labels
        self.data = {name: info.default for name, info in data_labels.items() if not info.do_not_save}
        self.restricted_opts = restricted_opts

    def __setattr__(self, key: str, value: Any) -> None:
        if key in _own_fields or (key not in self.data and key not in self.data_labels):
            super().__setattr__(key, value)
            return
        _refuse_if_frozen()
        info = self.data_labels.get(key)
        if info is None or not info.do_not_save:
            self._refuse_if_hidden(key, info)
            self.data[key] = value

    def _refuse_if_hidden(self, key: str, info: OptionInfo | None) -> None:
        arguments = None if info is None else info.component_args
        if isinstance(arguments, dict) and arguments.get("visible", True) is False:
            raise RuntimeError(f"{key} is hidden and cannot be set")
        if key in self.restricted_opts and cmd_opts.hide_ui_dir_config:
            raise RuntimeError(f"{key} cannot be set: --hide-ui-dir-config is given")

    def __getattr__(self, item: str) -> Any:
        saved, known = ({}, {}) if item in _own_fields else (self.data, self.data_labels)
        if item in saved:
            return saved[item]
        if item in known:
            return known[item].default
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {item!r}")

    def set(self, key: str, value: Any, is_api: bool = False, run_callbacks: bool = True) -> bool:
        """Sets a setting and calls its `onchange`; False where nothing changed or it may not be set. Unknown keys raise
        KeyError.
        """
        before = self.data.get(key)
        if before == value:
            return False
        info = self.data_labels[key]
        if info.do_not_save or (info.restrict_api and is_api):
            return False
        try:
            setattr(self, key, value)
        except RuntimeError:
            return False
        try:
            if run_callbacks and info.onchange:
                info.onchange()
        except Exception as fault:  # the host shows it and takes the change back
            errors.display(fault, f"setting {key} to {value}")
            setattr(self, key, before)
            return False
        return True

    def get_default(self, key: str) -> Any:
        info = self.data_labels.get(key)
        return None if info is None else info.default

    def save(self, filename: str) -> None:
        _refuse_if_frozen()
        text = json.dumps(self.data, indent=4, ensure_ascii=False)
        Path(filename).write_text(text, encoding="utf8")

    def load(self, filename: str) -> None:
        """Replaces all values by those of the file; a missing or broken file means no saved values at all."""
        self.data = _read(filename)
        for key, value in self.data.items():
            info = self.data_labels.get(key)
            if info is not None and not self.same_type(info.default, value):
                expected, got = type(info.default).__name__, type(value).__name__
                print(f"{filename}: {key} should be {expected}, not {got}: {value}", file=sys.stderr)

    def same_type(self, x: Any, y: Any) -> bool:
        if x is None or y is None:
            return True
        return self.typemap.get(type(x), type(x)) == self.typemap.get(type(y), type(y))

    def onchange(self, key: str, func: Callable[[], Any], call: bool = True) -> None:
        self.data_labels[key].onchange = func
        if call:
            func()

    def add_option(self, key: str, info: OptionInfo) -> None:
        self.data_labels[key] = info
        if not info.do_not_save:
            self.data.setdefault(key, info.default)

    def dumpjson(self) -> str:
        current = {name: self.data.get(name, info.default) for name, info in self.data_labels.items()}
        return json.dumps(current)

    def reorder(self) -> None:
        """Groups settings by section, for the settings page."""
        sections: dict[Any, int] = {}
        for info in self.data_labels.values():
            sections.setdefault(info.section, len(sections))
        ordered = sorted(self.data_labels.items(), key=lambda item: sections[item[1].section])
        self.data_labels = dict(ordered)

    def cast_value(self, key: str, value: Any) -> Any:
        """Text from an infotext, cast to the type of the setting's default."""
        if value is None:
            return None
        default = self.data_labels[key].default
        if default is None:
            default = getattr(self, key, None)
        if default is None:
            return None
        expected = type(default)
        if expected is bool and value == "False":
            return False
        return expected(value)
