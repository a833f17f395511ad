"""Callbacks that scripts register. Exceptions in them are reported and swallowed; "Reload UI" clears them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from modules import errors, timer
from modules.callback_order import ScriptCallback, add_callback, calling_file, sort_callbacks
from modules.callback_params import (
    AfterCFGCallbackParams,
    BeforeTokenCounterParams,
    CFGDenoisedParams,
    CFGDenoiserParams,
    ExtraNoiseParams,
    ImageGridLoopParams,
    ImageSaveParams,
    UiTrainTabParams,
)

Callback = Callable[..., Any]


CATEGORIES = (
    "app_started",
    "model_loaded",
    "ui_tabs",
    "ui_train_tabs",
    "ui_settings",
    "before_image_saved",
    "image_saved",
    "extra_noise",
    "cfg_denoiser",
    "cfg_denoised",
    "cfg_after_cfg",
    "before_component",
    "after_component",
    "image_grid",
    "infotext_pasted",
    "script_unloaded",
    "before_ui",
    "on_reload",
    "list_optimizers",
    "list_unets",
    "before_token_counter",
)
callback_map: dict[str, list[ScriptCallback]] = {f"callbacks_{category}": [] for category in CATEGORIES}
ordered_callbacks_map: dict[str, list[ScriptCallback]] = {}


def ordered_callbacks(
    category: str, unordered_callbacks: list[ScriptCallback] | None = None, *, enable_user_sort: bool = True
) -> list[ScriptCallback]:
    unordered = callback_map.get("callbacks_" + category, []) if unordered_callbacks is None else unordered_callbacks
    if not enable_user_sort:
        return sort_callbacks(category, unordered, enable_user_sort=False)
    known = ordered_callbacks_map.get(category)
    if known is None or len(known) != len(unordered):
        known = ordered_callbacks_map[category] = sort_callbacks(category, unordered)
    return known


def enumerate_callbacks() -> Iterator[tuple[str, list[ScriptCallback]]]:
    for category, callbacks in callback_map.items():
        yield category.removeprefix("callbacks_"), callbacks


def clear_callbacks() -> None:
    for callbacks in callback_map.values():
        callbacks.clear()
    ordered_callbacks_map.clear()


def remove_current_script_callbacks() -> None:
    """Removes what the calling file registered."""
    filename = calling_file()
    for callbacks in callback_map.values():
        callbacks[:] = [x for x in callbacks if x.script != filename]
    ordered_callbacks_map.clear()


def remove_callbacks_for_function(callback_func: Any) -> None:
    for callbacks in (*callback_map.values(), *ordered_callbacks_map.values()):
        callbacks[:] = [x for x in callbacks if x.callback != callback_func]


def _run(category: str, *args: Any, backwards: bool = False, **kwargs: Any) -> list[Any]:
    """Calls every callback of the category and returns what those that did not fail returned."""
    callbacks = ordered_callbacks(category)
    results = []
    for c in reversed(callbacks) if backwards else callbacks:
        try:
            results.append(c.callback(*args, **kwargs))
        except Exception:
            errors.report(f"Error executing callback {category}_callback for {c.script}", exc_info=True)
    return results


def app_started_callback(demo: Any, app: Any) -> None:
    _run("app_started", demo, app)
    timer.startup_timer.record("app_started_callback")


def app_reload_callback() -> None:
    _run("on_reload")


def model_loaded_callback(sd_model: Any) -> None:
    _run("model_loaded", sd_model)


def ui_tabs_callback() -> list[Any]:
    return [tab for tabs in _run("ui_tabs") for tab in tabs or []]


def ui_train_tabs_callback(params: UiTrainTabParams) -> None:
    _run("ui_train_tabs", params)


def ui_settings_callback() -> None:
    _run("ui_settings")


def before_image_saved_callback(params: ImageSaveParams) -> None:
    _run("before_image_saved", params)


def image_saved_callback(params: ImageSaveParams) -> None:
    _run("image_saved", params)


def extra_noise_callback(params: ExtraNoiseParams) -> None:
    _run("extra_noise", params)


def cfg_denoiser_callback(params: CFGDenoiserParams) -> None:
    _run("cfg_denoiser", params)


def cfg_denoised_callback(params: CFGDenoisedParams) -> None:
    _run("cfg_denoised", params)


def cfg_after_cfg_callback(params: AfterCFGCallbackParams) -> None:
    _run("cfg_after_cfg", params)


def before_component_callback(component: Any, **kwargs: Any) -> None:
    _run("before_component", component, **kwargs)


def after_component_callback(component: Any, **kwargs: Any) -> None:
    _run("after_component", component, **kwargs)


def image_grid_callback(params: ImageGridLoopParams) -> None:
    _run("image_grid", params)


def infotext_pasted_callback(infotext: str, params: dict[str, Any]) -> None:
    _run("infotext_pasted", infotext, params)


def script_unloaded_callback() -> None:
    _run("script_unloaded", backwards=True)


def before_ui_callback() -> None:
    _run("before_ui", backwards=True)


def before_token_counter_callback(params: BeforeTokenCounterParams) -> None:
    _run("before_token_counter", params)


def _collect(category: str) -> list[Any]:
    found: list[Any] = []
    _run(category, found)
    return found


def list_optimizers_callback() -> list[Any]:
    return _collect("list_optimizers")


def list_unets_callback() -> list[Any]:
    return _collect("list_unets")


def _register(category: str, callback: Callback, name: str | None) -> None:
    add_callback(callback_map["callbacks_" + category], callback, name=name, category=category)


def on_app_started(callback: Callback, *, name: str | None = None) -> None:
    """callback(demo: gr.Blocks | None, app: FastAPI), when the server is up."""
    _register("app_started", callback, name)


def on_before_reload(callback: Callback, *, name: str | None = None) -> None:
    _register("on_reload", callback, name)


def on_model_loaded(callback: Callback, *, name: str | None = None) -> None:
    _register("model_loaded", callback, name)


def on_ui_tabs(callback: Callback, *, name: str | None = None) -> None:
    """callback() -> list of (component, title, elem_id)."""
    _register("ui_tabs", callback, name)


def on_ui_train_tabs(callback: Callback, *, name: str | None = None) -> None:
    _register("ui_train_tabs", callback, name)


def on_ui_settings(callback: Callback, *, name: str | None = None) -> None:
    _register("ui_settings", callback, name)


def on_before_image_saved(callback: Callback, *, name: str | None = None) -> None:
    _register("before_image_saved", callback, name)


def on_image_saved(callback: Callback, *, name: str | None = None) -> None:
    _register("image_saved", callback, name)


def on_extra_noise(callback: Callback, *, name: str | None = None) -> None:
    _register("extra_noise", callback, name)


def on_cfg_denoiser(callback: Callback, *, name: str | None = None) -> None:
    _register("cfg_denoiser", callback, name)


def on_cfg_denoised(callback: Callback, *, name: str | None = None) -> None:
    _register("cfg_denoised", callback, name)


def on_cfg_after_cfg(callback: Callback, *, name: str | None = None) -> None:
    _register("cfg_after_cfg", callback, name)


def on_before_component(callback: Callback, *, name: str | None = None) -> None:
    _register("before_component", callback, name)


def on_after_component(callback: Callback, *, name: str | None = None) -> None:
    _register("after_component", callback, name)


def on_image_grid(callback: Callback, *, name: str | None = None) -> None:
    _register("image_grid", callback, name)


def on_infotext_pasted(callback: Callback, *, name: str | None = None) -> None:
    """callback(infotext: str, params: dict), which may change `params` before fields are filled."""
    _register("infotext_pasted", callback, name)


def on_script_unloaded(callback: Callback, *, name: str | None = None) -> None:
    _register("script_unloaded", callback, name)


def on_before_ui(callback: Callback, *, name: str | None = None) -> None:
    _register("before_ui", callback, name)


def on_list_optimizers(callback: Callback, *, name: str | None = None) -> None:
    _register("list_optimizers", callback, name)


def on_list_unets(callback: Callback, *, name: str | None = None) -> None:
    _register("list_unets", callback, name)


def on_before_token_counter(callback: Callback, *, name: str | None = None) -> None:
    _register("before_token_counter", callback, name)


__all__ = [
    "AfterCFGCallbackParams",
    "BeforeTokenCounterParams",
    "CFGDenoisedParams",
    "CFGDenoiserParams",
    "ExtraNoiseParams",
    "ImageGridLoopParams",
    "ImageSaveParams",
    "ScriptCallback",
    "UiTrainTabParams",
    "callback_map",
]
