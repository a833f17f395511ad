"""Which checkpoint, further modules and number type the settings ask for."""

from __future__ import annotations

import os
from typing import Any

import gradio as gr
import torch
from backend import memory_management
from backend.args import dynamic_args
from modules import model_handling, paths, sd_models, shared, ui_common

forge_unet_storage_dtype_options: dict[str, tuple[Any, bool]] = {
    "Automatic": (None, False),
    "Automatic (fp16 LoRA)": (None, True),
    "float8-e4m3fn": (torch.float8_e4m3fn, False),
    "float8-e4m3fn (fp16 LoRA)": (torch.float8_e4m3fn, True),
    "float8-e5m2": (torch.float8_e5m2, False),
    "float8-e5m2 (fp16 LoRA)": (torch.float8_e5m2, True),
}
"""(what the U-Net is stored in, whether LoRAs are added at each call instead of merged)."""
module_list: dict[str, str] = {}
total_vram = int(memory_management.total_vram)
ui_checkpoint: Any = None
_MODULE_FILES = [".ckpt", ".pt", ".bin", ".safetensors"]


def refresh_models() -> tuple[list[str], list[str]]:
    """(titles of checkpoints, names of further modules), looked for anew."""
    sd_models.list_models()
    titles = sd_models.checkpoint_tiles(shared.opts.sd_checkpoint_dropdown_use_short)
    own = [os.path.join(paths.models_path, name) for name in ("VAE", "text_encoder")]
    asked = [shared.cmd_opts.vae_dir, shared.cmd_opts.text_encoder_dir]
    module_list.clear()
    for folder in (*own, *filter(None, asked)):
        for path in shared.walk_files(folder, allowed_extensions=_MODULE_FILES):
            module_list[os.path.basename(path)] = path
    return titles, list(module_list)


def make_checkpoint_manager_ui() -> None:
    """The drop-down above the tabs; what it chooses is loaded by the next request, and no other component is told."""
    global ui_checkpoint
    titles, _ = refresh_models()
    ui_checkpoint = gr.Dropdown(
        label="Checkpoint",
        value=lambda: shared.opts.sd_model_checkpoint,
        choices=titles,
        elem_classes=["model_selection"],
    )
    refresh = ui_common.ToolButton(
        value=ui_common.refresh_symbol, elem_id="forge_refresh_checkpoint", tooltip="Refresh"
    )
    refresh.click(fn=lambda: gr.update(choices=refresh_models()[0]), inputs=[], outputs=[ui_checkpoint], queue=False)
    ui_checkpoint.change(fn=checkpoint_change, inputs=[ui_checkpoint], outputs=[], show_progress=False)


def refresh_memory_management_settings(
    async_loading: str | None = None,
    inference_memory: float | None = None,
    pin_shared_memory: str | None = None,
    model_memory: float | None = None,
) -> None:
    """What is not given stays; `model_memory` is what `inference_memory` leaves of all."""
    opts = shared.opts
    if model_memory is not None:
        inference_memory = total_vram - model_memory
    given = {"async_loading": async_loading, "pin_shared_memory": pin_shared_memory}
    for name, value in {**given, "inference_memory": inference_memory}.items():
        if value is not None:
            opts.set(f"forge_{name}", value)
    memory_management.current_inference_memory = opts.forge_inference_memory * 1024 * 1024
    memory_management.PIN_SHARED_MEMORY = opts.forge_pin_shared_memory == "Shared"
    model_handling.need_global_unload = True


def refresh_model_loading_parameters() -> None:
    """Takes down what the next request is to load."""
    storage, online = forge_unet_storage_dtype_options.get(shared.opts.forge_unet_storage_dtype, (None, False))
    dynamic_args["online_lora"] = online
    sd_models.model_data.forge_loading_parameters = {
        "checkpoint_info": sd_models.select_checkpoint(),
        "additional_modules": shared.opts.forge_additional_modules,
        "unet_storage_dtype": storage,
    }
    model_handling.need_global_unload = True


def _changed(name: str, value: Any, save: bool, refresh: bool) -> bool:
    shared.opts.set(name, value)
    if save:
        shared.opts.save(shared.config_filename)
    if refresh:
        refresh_model_loading_parameters()
    return True


def checkpoint_change(ckpt_name: str, save: bool = True, refresh: bool = True) -> bool:
    """Selects a checkpoint by any of its names; whether it is another."""
    find = sd_models.get_closet_checkpoint_match
    if find(ckpt_name) == find(shared.opts.data.get("sd_model_checkpoint", "")):
        return False
    return _changed("sd_model_checkpoint", ckpt_name, save, refresh)


def modules_change(module_values: list[str], save: bool = True, refresh: bool = True) -> bool:
    """Selects further modules by name or path; whether they are others."""
    names = [os.path.basename(value) for value in module_values]
    modules = [module_list[name] for name in names if name in module_list]
    if sorted(modules) == sorted(shared.opts.data.get("forge_additional_modules", [])):
        return False
    return _changed("forge_additional_modules", modules, save, refresh)
