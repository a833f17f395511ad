"""A whole run: pictures, autoencoder, base, student, files; each stage is kept in the run's folder and resumed."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

from torch import Tensor

from embedded.networks import LatentDiffusion

from .base import SCALE_FACTOR, normalise_latents, train_base
from .data import Pictures, draw_captions, draw_pictures, encode_pictures, tokenize_captions
from .export import PAIR_NAMES, build_model, export_checkpoint, export_unet
from .recipe import Recipe
from .student import train_student
from .text import train_text
from .vae import train_vae

STAGES = ("vae", "base", "student", "all")


def metadata(recipe: Recipe, role: str) -> dict[str, str]:
    """What a checkpoint says of itself: read by people and by the family detection of the extension."""
    common = {"modelspec.architecture": "stable-diffusion-v1", "modelspec.title": f"Monsters, {role}"}
    settings = {"monsters.role": role, "monsters.recipe": json.dumps(dataclasses.asdict(recipe))}
    family = {"modelspec.description": "DMD2 student, 4 steps, LCM sampler, CFG 1"} if role == "distilled" else {}
    return {**common, **settings, **family}


class Run:
    """One folder with everything a recipe makes, stage by stage; ``checkpoints`` is where the files go."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self.recipe, self.folder = recipe, folder
        self.checkpoints = folder / "pair"
        self.checkpoints.mkdir(parents=True, exist_ok=True)

    def pictures(self) -> Pictures:
        return draw_pictures(self.folder, self.recipe.pictures, self.recipe.seed)

    def model_with_vae(self) -> tuple[LatentDiffusion, Tensor]:
        """An otherwise untrained model with the trained, normalised autoencoder; and the pictures' scaled latents."""
        pictures = self.pictures()
        vae = train_vae(self.recipe, pictures, self.folder)
        latents = encode_pictures(pictures, vae, self.folder)
        scaled = normalise_latents(vae, latents)
        model = build_model(self.recipe.networks, self.checkpoints, SCALE_FACTOR)
        model.first_stage_model.load_state_dict(vae.state_dict())
        return model, scaled

    def captions(self) -> list[list[str]]:
        return draw_captions(self.pictures().attributes, self.recipe.captions, self.recipe.seed + 1)

    def tokens(self, model: LatentDiffusion) -> Tensor:
        return tokenize_captions(self.captions(), model.cond_stage_model)

    def base(self) -> LatentDiffusion:
        model, latents = self.model_with_vae()
        captions = self.captions()
        tokens = tokenize_captions(captions, model.cond_stage_model)
        train_text(self.recipe, model.cond_stage_model, captions, tokens, self.folder)
        train_base(self.recipe, model, latents, tokens, self.folder)
        return model

    def export(self, model: LatentDiffusion, role: str) -> Path:
        name = PAIR_NAMES[("base", "distilled").index(role)]
        path = self.checkpoints / f"{name}.safetensors"
        told = metadata(self.recipe, role)
        if role == "distilled":
            return export_unet(model, path, metadata=told)
        return export_checkpoint(model, self.recipe.networks, path, metadata=told)

    def train(self, stage: str) -> list[Path]:
        """Runs ``stage`` and what it needs; returns the checkpoints written."""
        began, written = time.monotonic(), []
        if stage == "vae":
            self.model_with_vae()
        else:
            model = self.base()
            written.append(self.export(model, "base"))
            if stage in ("student", "all"):
                student = train_student(self.recipe, model, self.tokens(model), self.folder)
                model.model.diffusion_model.load_state_dict(student.state_dict())
                written.append(self.export(model, "distilled"))
        print(f"stage {stage} done in {time.monotonic() - began:.0f} s", flush=True)
        return written
