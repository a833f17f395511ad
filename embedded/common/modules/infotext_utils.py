"""Reading an infotext back: into parameters, into the page's fields, into settings."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import os
import re
import sys
from collections.abc import Callable
from typing import Any

import gradio as gr
from PIL import Image

from modules import errors, prompt_parser, script_callbacks, shared
from modules.paths import data_path

sys.modules["modules.generation_parameters_copypaste"] = sys.modules[__name__]

re_param = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
re_imagesize = re.compile(r"^(\d+)x(\d+)$")
type_of_gr_update = type(gr.update())


@dataclasses.dataclass(eq=False)
class ParamBinding:
    """A button that sends parameters to a tab."""

    paste_button: Any
    tabname: str
    source_text_component: Any = None
    source_image_component: Any = None
    source_tabname: str | None = None
    override_settings_component: Any = None
    paste_field_names: list[str] | None = None

    def __post_init__(self) -> None:
        self.paste_field_names = self.paste_field_names or []


class PasteField(tuple[Any, Any]):
    """A component and where its value comes from: an infotext label, or a function of all parameters. `api` names the
    request's field.
    """

    def __new__(cls, component: Any, target: Any, *, api: str | None = None) -> PasteField:
        del api
        pair = (component, target)
        return super().__new__(cls, pair)

    def __init__(self, component: Any, target: Any, *, api: str | None = None) -> None:
        super().__init__()
        self.api = api
        self.component = component
        self.label: str | None = target if isinstance(target, str) else None
        self.function: Callable[[dict[str, Any]], Any] | None = target if callable(target) else None


paste_fields: dict[str, dict[str, Any]] = {}
registered_param_bindings: list[ParamBinding] = []


def reset() -> None:
    paste_fields.clear()
    registered_param_bindings.clear()


def quote(text: Any) -> Any:
    """Values with a comma, colon or line break in JSON quotes; others as they are."""
    if not any(x in str(text) for x in ",\n:"):
        return text
    return json.dumps(text, ensure_ascii=False)


def unquote(text: str) -> Any:
    if not (text.startswith('"') and text.endswith('"')):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def image_from_url_text(filedata: Any) -> Image.Image | None:
    """The picture that a gallery passes on: as its file, as a picture with its caption, or in base64."""
    from modules import images

    if isinstance(filedata, list):
        filedata = filedata[0] if filedata else None
    if filedata is None:
        return None
    if isinstance(filedata, tuple):
        return filedata[0]
    if isinstance(filedata, dict):
        return images.read(filedata["name"].rsplit("?", 1)[0])
    return images.read(io.BytesIO(base64.b64decode(filedata.removeprefix("data:image/png;base64,"))))


def add_paste_fields(tabname: str, init_img: Any, fields: Any, override_settings_component: Any = None) -> None:
    fields = [x if isinstance(x, PasteField) else PasteField(*x) for x in fields or []]
    paste_fields[tabname] = {
        "init_img": init_img,
        "fields": fields,
        "override_settings_component": override_settings_component,
    }


def create_buttons(tabs_list: list[str]) -> dict[str, Any]:
    return {tab: gr.Button(f"Send to {tab}", elem_id=f"{tab}_tab") for tab in tabs_list}


def register_paste_params_button(binding: ParamBinding) -> None:
    registered_param_bindings.append(binding)


def connect_paste_params_buttons() -> None:
    """A picture goes to the tab's picture, a text into all its fields, another tab's values into those of one name."""
    for binding in registered_param_bindings:
        target = paste_fields[binding.tabname]
        if binding.source_image_component and target["init_img"]:
            _connect_picture(binding, target)
        if binding.source_text_component is not None and target["fields"]:
            overrides = binding.override_settings_component or target["override_settings_component"]
            connect_paste(
                binding.paste_button, target["fields"], binding.source_text_component, overrides, binding.tabname
            )
        if binding.source_tabname is not None and target["fields"]:
            _connect_values(binding, target["fields"])
        binding.paste_button.click(
            fn=None, _js=f"switch_to_{binding.tabname}", inputs=None, outputs=None, show_progress=False
        )


def _connect_picture(binding: ParamBinding, target: dict[str, Any]) -> None:
    is_gallery = isinstance(binding.source_image_component, gr.Gallery)
    sizes = [field for field, name in target["fields"] if name in ("Size-1", "Size-2")]
    if binding.tabname == "inpaint":
        sizes = []

    def send(picture: Any) -> Any:
        sent = image_from_url_text(picture) if is_gallery else picture
        if not sizes:
            return sent
        known = shared.opts.send_size and sent is not None
        return [sent, *(sent.size if known else (gr.update(), gr.update()))]

    binding.paste_button.click(
        fn=send,
        _js="extract_image_from_gallery" if is_gallery else None,
        inputs=[binding.source_image_component],
        outputs=[target["init_img"], *sizes],
        show_progress=False,
    )


def _connect_values(binding: ParamBinding, fields: Any) -> None:
    sent = ["Prompt", "Negative prompt", "Steps", "Face restoration", *(binding.paste_field_names or [])]
    if shared.opts.send_seed:
        sent.append("Seed")
    source = paste_fields[binding.source_tabname or ""]["fields"]
    binding.paste_button.click(
        fn=lambda *values: values,
        inputs=[field for field, name in source if name in sent],
        outputs=[field for field, name in fields if name in sent],
        show_progress=False,
    )


def _prompts_and_line(text: str) -> tuple[str, str, str]:
    """Prompt, negative prompt, and the line of parameters (the last, if it looks like one)."""
    *lines, last = text.strip().split("\n")
    if len(re_param.findall(last)) < 3:
        lines, last = [*lines, last], ""
    parts: list[list[str]] = [[], []]
    which = 0
    for line in map(str.strip, lines):
        if line.startswith("Negative prompt:"):
            which = 1
            line = line.removeprefix("Negative prompt:").strip()
        parts[which].append(line)
    return "\n".join(parts[0]), "\n".join(parts[1]), last


def _values(line: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in re_param.findall(line):
        value = unquote(value)
        size = re_imagesize.match(value) if isinstance(value, str) else None
        if size is not None:
            found[f"{key}-1"], found[f"{key}-2"] = size.groups()
        else:
            found[key] = value
    return found


# What is absent was at its default when the picture was made.
_ABSENT_MEANS: dict[str, Any] = {
    "Clip skip": "1",
    "Hires sampler": "Use same sampler",
    "Hires schedule type": "Use same scheduler",
    "Hires checkpoint": "Use same checkpoint",
    "Hires prompt": "",
    "Hires negative prompt": "",
    "Mask mode": "Inpaint masked",
    "Masked content": "original",
    "Inpaint area": "Whole picture",
    "Masked area padding": 32,
    "RNG": "GPU",
    "Schedule type": "Automatic",
    "Schedule max sigma": 0,
    "Schedule min sigma": 0,
    "Schedule rho": 0,
    "VAE Encoder": "Full",
    "VAE Decoder": "Full",
    "FP8 weight": "Disable",
    "Refiner switch by sampling steps": False,
}


def _uses_emphasis(*prompts: str) -> bool:
    pieces = [piece for prompt in prompts for piece in prompt_parser.parse_prompt_attention(prompt)]
    return any(weight != 1.0 and text != "BREAK" for text, weight in pieces)


def parse_generation_parameters(x: str, skip_fields: list[str] | None = None) -> dict[str, Any]:
    """Values by name, sizes split into "-1" and "-2", defaults filled in for what the text does not name."""
    prompt, negative_prompt, line = _prompts_and_line(x)
    res = _values(line)
    if shared.opts.infotext_styles != "Ignore":
        styles, prompt, negative_prompt = shared.prompt_styles.extract_styles_from_prompt(prompt, negative_prompt)
        if shared.opts.infotext_styles == "Apply" or (shared.opts.infotext_styles == "Apply if any" and styles):
            res["Styles array"] = styles
    res["Prompt"], res["Negative prompt"] = prompt, negative_prompt
    if "Hires resize-1" not in res:
        res["Hires resize-1"] = res["Hires resize-2"] = 0
    for key, value in _ABSENT_MEANS.items():
        res.setdefault(key, value)
    if _uses_emphasis(prompt, negative_prompt):
        res.setdefault("Emphasis", "Original")
    for key in shared.opts.infotext_skip_pasting if skip_fields is None else skip_fields:
        res.pop(key, None)
    return res


infotext_to_setting_name_mapping: list[tuple[str, str]] = []


def _setting_of_label() -> list[tuple[str, str]]:
    return [
        (info.infotext, k) for k, info in shared.opts.data_labels.items() if info.infotext
    ] + infotext_to_setting_name_mapping


def create_override_settings_dict(text_pairs: list[str]) -> dict[str, Any]:
    """["Clip skip: 2"] -> {"CLIP_stop_at_last_layers": 2}."""
    params = dict(pair.split(":", maxsplit=1) for pair in text_pairs or [])
    found = {}
    for label, setting in _setting_of_label():
        if label in params:
            found[setting] = shared.opts.cast_value(setting, params[label].strip())
    return found


def get_override_settings(params: dict[str, Any], *, skip_fields: Any = None) -> list[tuple[str, str, Any]]:
    """(label, setting, value) of settings that the parameters want different from what they are."""
    res = []
    for label, setting in _setting_of_label():
        value = params.get(label)
        if label in (skip_fields or {}) or value is None:
            continue
        if setting == "sd_model_checkpoint" and shared.opts.disable_weights_auto_swap:
            continue
        value = shared.opts.cast_value(setting, value)
        if value != getattr(shared.opts, setting, None):
            res.append((label, setting, value))
    return res


def _field_update(output: Any, key: Any, params: dict[str, Any]) -> Any:
    if callable(key):
        try:
            value = key(params)
        except Exception:
            errors.report(f"A field cannot be read from the infotext: {key} failed", exc_info=True)
            value = None
    else:
        value = params.get(key)
    if value is None:
        return gr.update()
    if isinstance(value, type_of_gr_update):
        return value
    kind = type(output.value)
    try:
        if kind is bool and value == "False":
            return gr.update(value=False)
        return gr.update(value=float(value) if kind is int else kind(value))
    except (TypeError, ValueError):
        return gr.update()


def _last_params() -> str:
    try:
        with open(os.path.join(data_path, "params.txt"), encoding="utf8") as file:
            return file.read()
    except OSError:
        return ""


def connect_paste(
    button: Any, paste_fields: Any, input_comp: Any, override_settings_component: Any, tabname: str
) -> None:
    """Makes `button` fill the fields from the text in `input_comp`; from the last generation where that is empty."""
    del tabname
    if override_settings_component is not None:
        handled = {key: 1 for _, key in paste_fields if isinstance(key, str)}

        def paste_settings(params: dict[str, Any]) -> Any:
            pairs = [f"{label}: {value}" for label, _, value in get_override_settings(params, skip_fields=handled)]
            return gr.Dropdown.update(value=pairs, choices=pairs, visible=bool(pairs))

        paste_fields = [*paste_fields, (override_settings_component, paste_settings)]

    def paste_func(prompt: str) -> list[Any]:
        text = prompt or ("" if shared.cmd_opts.hide_ui_dir_config else _last_params())
        params = parse_generation_parameters(text)
        script_callbacks.infotext_pasted_callback(text, params)
        return [_field_update(output, key, params) for output, key in paste_fields]

    button.click(fn=paste_func, inputs=[input_comp], outputs=[x[0] for x in paste_fields], show_progress=False)
