"""Functions that scripts register to be called back. What they raise is reported and swallowed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from modules import errors


@dataclass(eq=False)
class ImageSaveParams:
    """A picture that is about to be written, or was; all of it may be changed before."""

    image: Any
    p: Any
    filename: str
    pnginfo: dict[str, Any]


@dataclass(eq=False)
class CFGDenoiserParams:
    """Before the U-Net runs. `x`, `sigma` and `image_cond` hold conditional rows, then one unconditional row an image;
    `sampling_step` is that of the last finished step, so it reads 0, 0, 1, 2 over four steps.
    """

    x: Any
    image_cond: Any
    sigma: Any
    sampling_step: int
    total_sampling_steps: int
    text_cond: Any
    text_uncond: Any
    denoiser: Any = None


@dataclass(eq=False)
class AfterCFGCallbackParams:
    """The combined prediction; x0 for k-diffusion samplers, eps for those on timesteps. Carries no sigma."""

    x: Any
    sampling_step: int
    total_sampling_steps: int


@dataclass(eq=False)
class CFGDenoisedParams(AfterCFGCallbackParams):
    """After the U-Net, before the two halves are combined."""

    inner_model: Any


@dataclass(eq=False)
class ImageGridLoopParams:
    """Pictures of a grid, which may be laid out otherwise."""

    imgs: list[Any]
    cols: int
    rows: int


Callback = Callable[..., Any]


class ScriptCallback(NamedTuple):
    script: str
    callback: Callback


callback_map: dict[str, list[ScriptCallback]] = {}


def clear_callbacks() -> None:
    for registered in callback_map.values():
        registered.clear()


def remove_callbacks_for_function(callback_func: Callback) -> None:
    for event, registered in callback_map.items():
        callback_map[event] = [entry for entry in registered if entry.callback != callback_func]


def _registering(event: str) -> Callable[..., None]:
    callback_map[event] = []

    def register(callback: Callback, *, name: str | None = None) -> None:
        callback_map[event].append(ScriptCallback(inspect.stack()[1].filename, callback))

    return register


def _calling(event: str, order: int = 1) -> Callable[..., None]:
    def call(*args: Any, **kwargs: Any) -> None:
        for script, callback in list(callback_map[event])[::order]:
            try:
                callback(*args, **kwargs)
            except Exception:
                errors.report(f"A callback of {script} failed at {event}", exc_info=True)

    return call


on_app_started = _registering("app_started")  # (gr.Blocks or None, FastAPI), once the server is up
on_before_ui = _registering("before_ui")
on_script_unloaded = _registering("script_unloaded")
on_before_component = _registering("before_component")  # (component, **its arguments)
on_after_component = _registering("after_component")
on_infotext_pasted = _registering("infotext_pasted")  # (text, parameters, which may be changed)
on_model_loaded = _registering("model_loaded")
on_cfg_denoiser = _registering("cfg_denoiser")
on_cfg_denoised = _registering("cfg_denoised")
on_cfg_after_cfg = _registering("cfg_after_cfg")
on_before_image_saved = _registering("before_image_saved")
on_image_saved = _registering("image_saved")
on_image_grid = _registering("image_grid")

app_started_callback = _calling("app_started")
before_ui_callback = _calling("before_ui", order=-1)
script_unloaded_callback = _calling("script_unloaded", order=-1)
before_component_callback = _calling("before_component")
after_component_callback = _calling("after_component")
infotext_pasted_callback = _calling("infotext_pasted")
model_loaded_callback = _calling("model_loaded")
cfg_denoiser_callback = _calling("cfg_denoiser")
cfg_denoised_callback = _calling("cfg_denoised")
cfg_after_cfg_callback = _calling("cfg_after_cfg")
before_image_saved_callback = _calling("before_image_saved")
image_saved_callback = _calling("image_saved")
image_grid_callback = _calling("image_grid")
