"""Routes that list what there is."""

from __future__ import annotations

import os
from typing import Any

from modules import errors, extensions, model_handling, scripts, sd_models, sd_samplers, sd_schedulers, shared
from modules.api import models
from modules.sd_models_config import find_checkpoint_config_near_filename


class ListsApi:
    def get_cmd_flags(self) -> dict[str, Any]:
        return vars(shared.cmd_opts)

    def get_samplers(self) -> list[dict[str, Any]]:
        return [{"name": x.name, "aliases": x.aliases, "options": x.options} for x in sd_samplers.all_samplers]

    def get_schedulers(self) -> list[dict[str, Any]]:
        names = ("name", "label", "aliases", "default_rho", "need_inner_model")
        return [{name: getattr(x, name) for name in names} for x in sd_schedulers.schedulers]

    def get_upscalers(self) -> list[dict[str, Any]]:
        return [
            {
                "name": x.name,
                "model_name": x.scaler.model_name,
                "model_path": x.data_path,
                "model_url": None,
                "scale": x.scale,
            }
            for x in shared.sd_upscalers
        ]

    def get_latent_upscale_modes(self) -> list[dict[str, Any]]:
        return [{"name": x} for x in shared.latent_upscale_modes]

    def get_sd_models(self) -> list[dict[str, Any]]:
        return [
            {
                "title": x.title,
                "model_name": x.model_name,
                "hash": x.shorthash,
                "sha256": x.sha256,
                "filename": x.filename,
                "config": find_checkpoint_config_near_filename(x),
            }
            for x in sd_models.checkpoints_list.values()
        ]

    def get_sd_vaes(self) -> list[dict[str, Any]]:
        return [{"model_name": k, "filename": v} for k, v in model_handling.vae_files().items()]

    def get_prompt_styles(self) -> list[dict[str, Any]]:
        return [
            {"name": s.name, "prompt": s.prompt, "negative_prompt": s.negative_prompt}
            for s in shared.prompt_styles.styles.values()
        ]

    def get_embeddings(self) -> dict[str, Any]:
        db = model_handling.embeddings()
        names = ("step", "sd_checkpoint", "sd_checkpoint_name", "shape", "vectors")
        tables = {"loaded": db.word_embeddings, "skipped": db.skipped_embeddings}
        return {
            key: {e.name: {n: getattr(e, n) for n in names} for e in table.values()} for key, table in tables.items()
        }

    def get_memory(self) -> Any:
        try:
            import psutil

            used = psutil.Process(os.getpid()).memory_info().rss
            total = psutil.virtual_memory().total
            ram: dict[str, Any] = {"free": total - used, "used": used, "total": total}
        except Exception as err:
            errors.record_exception()
            ram = {"error": f"{err}"}
        return models.MemoryResponse(ram=ram, cuda={"error": "unavailable"})

    def get_scripts_list(self) -> Any:
        names = [
            [s.name for s in runner.scripts if s.name is not None]
            for runner in (scripts.scripts_txt2img, scripts.scripts_img2img)
        ]
        return models.ScriptsList(txt2img=names[0], img2img=names[1])

    def get_script_info(self) -> list[Any]:
        both = [*scripts.scripts_txt2img.scripts, *scripts.scripts_img2img.scripts]
        return [script.api_info for script in both if script.api_info is not None]

    def get_extensions_list(self) -> list[Any]:
        return [vars(x) for x in extensions.extensions if x.remote is not None]
