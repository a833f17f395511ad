"""Script arguments of API requests: by position, the request's laid over an infotext's, that over defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr
from fastapi.exceptions import HTTPException

from modules import infotext_utils
from modules.api import requests
from modules.infotext_utils import PasteField
from modules.script_base import Script
from modules.script_runner import ScriptRunner


def defaults(runner: ScriptRunner) -> list[Any]:
    """Each script's `ui` is called once more, in a page that is thrown away, for its values."""
    values: list[Any] = [0, *(None for _ in runner.inputs[1:])]
    with gr.Blocks():
        for script in runner.scripts:
            made = script.ui(script.is_img2img) or ()
            values[script.args_from : script.args_to] = [component.value for component in made]
    return values


def _named(title: str, candidates: Sequence[Script]) -> Script:
    for script in candidates:
        if script.title().lower() == title.lower():
            return script
    raise HTTPException(422, f"Script '{title}' not found")


def settled(request: Any, default: list[Any], pasted: dict[int, Any], runner: ScriptRunner) -> list[Any]:
    """An always-on script's arguments replace the first of its defaults; surplus ones are dropped without a word."""
    values = [pasted.get(place, value) for place, value in enumerate(default)]
    if request.script_name:
        chosen = _named(request.script_name, runner.selectable_scripts)
        values[chosen.args_from : chosen.args_to] = request.script_args
        values[0] = runner.selectable_scripts.index(chosen) + 1
    for title, given in request.alwayson_scripts.items():
        script = _named(title, runner.scripts)
        if not script.alwayson:
            raise HTTPException(422, "Cannot have a selectable script in the always on scripts params")
        for place, value in zip(range(script.args_from, script.args_to), given.get("args", ()), strict=False):
            values[place] = value
    return values


def apply_infotext(request: Any, tab: str, runner: ScriptRunner) -> dict[int, Any]:
    """Fills what the request leaves open from its `infotext`; what that says of script arguments, by their places."""
    if not request.infotext:
        return {}
    params = infotext_utils.parse_generation_parameters(request.infotext)
    fields, given = infotext_utils.paste_fields[tab].fields, request.dict(exclude_unset=True)
    of_request = {known.api: known for known in fields if known.api and known.api not in given}
    for name, known in of_request.items():
        value = _read(known, params, request)
        if value is not None:
            setattr(request, name, value)
    wanted = {setting: value for _, setting, value in infotext_utils.get_override_settings(params)}
    request.override_settings = {**wanted, **(request.override_settings or {})}
    places = {id(component): place for place, component in enumerate(runner.inputs) if place}  # 0 chooses a script
    of_scripts = {places[id(known.component)]: known for known in fields if id(known.component) in places}
    values = {place: _read(known, params, request) for place, known in of_scripts.items()}
    return {place: value for place, value in values.items() if value is not None}


def _read(known: PasteField, params: dict[str, Any], request: Any) -> Any:
    """As the request's field is typed, or as the component's value is."""
    value = known.value(params)
    if isinstance(value, dict):  # an update of a component
        value = value.get("value")
    if value is None:
        return None
    kind = requests.kind_of(request, known.api) or type(known.component.value)
    return infotext_utils.as_kind(value, kind)


def described(script: Script) -> dict[str, Any]:
    """What `/sdapi/v1/script-info` says of a script and its components."""
    names = ("label", "value", "minimum", "maximum", "step", "choices")
    arguments = [{name: getattr(control, name, None) for name in names} for control in script.controls]
    for argument in arguments:
        choices = argument["choices"] or ()
        argument["choices"] = [choice[0] if isinstance(choice, tuple) else choice for choice in choices]
    kinds = {"is_alwayson": script.alwayson, "is_img2img": script.is_img2img}
    return {"name": script.name, **kinds, "args": arguments}
