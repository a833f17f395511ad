"""Settings changed by a request or by the API, with what follows from them for the model."""

from __future__ import annotations

from typing import Any

from modules import sd_models, shared

_MEMORY = ("forge_inference_memory", "forge_async_loading", "forge_pin_shared_memory")


def get_config() -> dict[str, Any]:
    return dict(shared.opts.data)


def set_config(req: dict[str, Any], is_api: bool = False, run_callbacks: bool = True, save_config: bool = True) -> None:
    """Unchanged values are passed over. RuntimeError for a checkpoint that is not listed."""
    changed = {name: value for name, value in req.items() if value != shared.opts.data.get(name)}
    for name, value in changed.items():
        if name not in ("sd_model_checkpoint", "forge_additional_modules", *_MEMORY):
            shared.opts.set(name, value, is_api=is_api, run_callbacks=run_callbacks)
    if _change_model(changed):
        from modules_forge import main_entry

        main_entry.refresh_model_loading_parameters()
    if save_config:
        shared.opts.save(shared.config_filename)


def _change_model(changed: dict[str, Any]) -> bool:
    from modules_forge import main_entry

    checkpoint = changed.get("sd_model_checkpoint")
    if checkpoint is not None and checkpoint not in sd_models.checkpoint_aliases:
        raise RuntimeError(f"model {checkpoint!r} not found")
    unsaved = {"save": False, "refresh": False}
    other = [
        "sd_model_checkpoint" in changed and main_entry.checkpoint_change(checkpoint, **unsaved),
        "forge_additional_modules" in changed
        and main_entry.modules_change(changed["forge_additional_modules"], **unsaved),
    ]
    memory = {name.removeprefix("forge_"): changed[name] for name in _MEMORY if name in changed}
    if memory:
        main_entry.refresh_memory_management_settings(**memory)
    return any(other) or bool(memory)
