"""Script arguments of API requests: defaults by position, the request's laid over them."""

from __future__ import annotations

from typing import Any, Union, get_args, get_origin

import gradio as gr
from fastapi.exceptions import HTTPException

from modules import infotext_utils


def script_name_to_index(name: str, scripts: list[Any]) -> int:
    """By title, in upper or lower case."""
    try:
        titles = [script.title().lower() for script in scripts]
        return titles.index(name.lower())
    except Exception as fault:
        raise _refusal(f"Script '{name}' not found") from fault


def _refusal(reason: str) -> HTTPException:
    return HTTPException(status_code=422, detail=reason)


def get_script(script_name: str | None, script_runner: Any) -> Any:
    if not script_name:
        return None, None
    candidates = script_runner.scripts
    return candidates[script_name_to_index(script_name, candidates)]


def get_selectable_script(script_name: str | None, script_runner: Any) -> tuple[Any, int | None]:
    if not script_name:
        return None, None
    candidates = script_runner.selectable_scripts
    index = script_name_to_index(script_name, candidates)
    return candidates[index], index


def init_default_script_args(script_runner: Any) -> list[Any]:
    """Each script's `ui` is called once more (twice in fact, as the host does) in a Blocks that is thrown away, for its
    values.
    """
    script_args: list[Any] = [None] * max([1, *(script.args_to for script in script_runner.scripts)])
    script_args[0] = 0
    with gr.Blocks():
        for script in script_runner.scripts:
            if script.ui(script.is_img2img):
                script_args[script.args_from : script.args_to] = [elem.value for elem in script.ui(script.is_img2img)]
    return script_args


def init_script_args(
    request: Any,
    default_script_args: list[Any],
    selectable_script: Any,
    selectable_idx: int | None,
    script_runner: Any,
    *,
    input_script_args: dict[int, Any] | None = None,
) -> list[Any]:
    """An always-on script's arguments replace the first of its defaults; surplus ones are dropped without a word."""
    merged = list(default_script_args)
    for place, value in (input_script_args or {}).items():
        merged[place] = value
    if selectable_script:
        merged[selectable_script.args_from : selectable_script.args_to] = request.script_args
        merged[0] = (selectable_idx or 0) + 1  # the dropdown's 0 is "None"
    for name, given in (request.alwayson_scripts or {}).items():
        _lay_over(merged, get_script(name, script_runner), given.get("args", []))
    return merged


def _lay_over(merged: list[Any], script: Any, given: list[Any]) -> None:
    if script.alwayson is False:
        raise _refusal("Cannot have a selectable script in the always on scripts params")
    for place, value in zip(range(script.args_from, script.args_to), given, strict=False):
        merged[place] = value


def _type_of(field: Any) -> type:
    """What is given of an optional field; pydantic 1 says it itself."""
    if hasattr(field, "type_"):
        return field.type_
    given = [kind for kind in get_args(field.annotation) if kind is not type(None)]
    return given[0] if len(given) == 1 and get_origin(field.annotation) is Union else field.annotation


def _field_value(field: Any, params: dict[str, Any], request: Any) -> Any:
    read = field.function or (lambda known: known.get(field.label))
    value = read(params)
    if value is None:
        return None
    known = request.__fields__
    kind = _type_of(known[field.api]) if field.api in known else type(field.component.value)
    if kind is type(None):
        return None
    if isinstance(value, dict) and value.get("__type__") == "generic_update":
        value = value.get("value")
    return kind(value) if value is not None and not isinstance(value, kind) else value


def apply_infotext(request: Any, tabname: str, *, script_runner: Any, mentioned_script_args: dict[int, Any]) -> None:
    """Fills what the request leaves open from its `infotext`, and collects values of script arguments."""
    if not request.infotext:
        return
    fields = infotext_utils.paste_fields[tabname]["fields"]
    already_set = request.dict(exclude_unset=True)
    text = request.infotext
    params = infotext_utils.parse_generation_parameters(text)
    for field in fields:
        if field.api and field.api not in already_set and (value := _field_value(field, params, request)) is not None:
            setattr(request, field.api, value)
    request.override_settings = request.override_settings or {}
    for _, setting, value in infotext_utils.get_override_settings(params):
        request.override_settings.setdefault(setting, value)
    indexes = {id(v): i for i, v in enumerate(script_runner.inputs)}
    for field in fields:
        if id(field.component) in indexes and (value := _field_value(field, params, request)) is not None:
            mentioned_script_args[indexes[id(field.component)]] = value
