"""Which checkpoint, further modules and number type the settings ask for."""

from __future__ import annotations

import os
from typing import Any

import gradio as gr
import torch
from backend import memory_management
from backend.args import dynamic_args
from modules import model_handling, paths, sd_models, shared, ui_common

module_list: dict[str, str] = {}
ui_checkpoint: Any = None
_STORED = {"Automatic": None, "float8-e4m3fn": torch.float8_e4m3fn, "float8-e5m2": torch.float8_e5m2}
forge_unet_storage_dtype_options = {
    label + suffix: (dtype, bool(suffix)) for label, dtype in _STORED.items() for suffix in ("", " (fp16 LoRA)")
}
"""(what the U-Net is stored in, whether LoRAs are added at each call instead of merged)."""


def refresh_models() -> tuple[list[str], list[str]]:
    """(titles of checkpoints, names of further modules), looked for anew."""
    sd_models.list_models()
    folders = [os.path.join(paths.models_path, name) for name in ("VAE", "text_encoder")]
    folders += [folder for folder in (shared.cmd_opts.vae_dir, shared.cmd_opts.text_encoder_dir) if folder]
    module_list.clear()
    for folder in folders:
        found = shared.walk_files(folder, allowed_extensions=[".ckpt", ".pt", ".bin", ".safetensors"])
        module_list.update((os.path.basename(path), path) for path in found)
    return sd_models.checkpoint_tiles(), list(module_list)


def make_checkpoint_manager_ui() -> None:
    """The drop-down above the tabs; what it chooses is loaded by the next request, and no other component is told."""
    global ui_checkpoint
    choices, _ = refresh_models()
    selected = {"value": lambda: shared.opts.sd_model_checkpoint, "elem_classes": ["model_selection"]}
    ui_checkpoint = gr.Dropdown(label="Checkpoint", choices=choices, **selected)
    ui_checkpoint.change(fn=checkpoint_change, inputs=[ui_checkpoint], outputs=[], show_progress=False)
    again = ui_common.ToolButton(ui_common.refresh_symbol, elem_id="forge_refresh_checkpoint", tooltip="Refresh")
    again.click(fn=lambda: gr.update(choices=refresh_models()[0]), outputs=[ui_checkpoint], queue=False)


def refresh_memory_management_settings(
    async_loading: str | None = None, inference_memory: float | None = None, pin_shared_memory: str | None = None
) -> None:
    """What is not given stays."""
    given = {"async_loading": async_loading, "inference_memory": inference_memory}
    for name, value in {**given, "pin_shared_memory": pin_shared_memory}.items():
        if value is not None:
            shared.opts.set(f"forge_{name}", value)
    memory_management.current_inference_memory = shared.opts.forge_inference_memory * (1 << 20)
    model_handling.need_global_unload = True


def refresh_model_loading_parameters() -> None:
    """Takes down what the next request is to load."""
    storage, online = forge_unet_storage_dtype_options.get(shared.opts.forge_unet_storage_dtype, (None, False))
    dynamic_args["online_lora"] = online
    asked = {"checkpoint_info": sd_models.select_checkpoint(), "unet_storage_dtype": storage}
    sd_models.model_data.forge_loading_parameters = {
        **asked,
        "additional_modules": shared.opts.forge_additional_modules,
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
    now, asked = map(sd_models.get_closet_checkpoint_match, (shared.opts.data.get("sd_model_checkpoint"), ckpt_name))
    return now != asked and _changed("sd_model_checkpoint", ckpt_name, save, refresh)


def modules_change(module_values: list[str], save: bool = True, refresh: bool = True) -> bool:
    """Selects further modules by name or path; whether they are others."""
    known = [module_list.get(os.path.basename(value)) for value in module_values]
    asked, now = [path for path in known if path], shared.opts.data.get("forge_additional_modules", [])
    return sorted(asked) != sorted(now) and _changed("forge_additional_modules", asked, save, refresh)
