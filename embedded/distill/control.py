"""Training of what steers a model: concept LoRAs, slider LoRAs (Concept Sliders) and a full fine-tune.

Each is trained on one model of the pair alone; whether it steers the other one is what is measured
(arXiv 2503.10637, table 1).
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from embedded.monsters import Attributes, caption, draw, from_labels, sample_attributes
from embedded.networks import LatentDiffusion, UNetModel

from .base import draw_timesteps, eps_loss
from .data import Pictures, encode_means
from .export import EMBEDDED_PAIR, export_checkpoint, load_pair
from .loop import Progress, cosine_rate, make_optimizer, set_rate, step_generator
from .low_rank import UnetLora
from .recipe import Recipe
from .sampling import add_noise

STAGE = 4
CUSTOM = "monsters_custom"
ROLES = ("base", "distilled")


@dataclass(frozen=True)
class Control:
    """What is taught: the label that one attribute is to have; sliders move from ``away`` to it.

    Attributes:
        away: the slider's other end; None for a concept, which is taught by pictures that all have the label, with
            captions that do not say it.
    """

    name: str
    attribute: str
    label: str
    away: str | None = None


CONTROLS = (
    Control("purple", "colour", "purple"),
    Control("snow", "background", "snow"),
    Control("slider_big_eyes", "eye_size", "big", away="small"),
    Control("slider_tall", "body", "tall", away="round"),
)
CUSTOM_LABELS: Mapping[str, str] = {"colour": "purple", "background": "night"}
"""What every picture shows that the custom base was tuned on."""


@dataclass(frozen=True)
class Captioned:
    """Latents [n, 4, 16, 16], scaled, and token ids [n, captions, 77] for each of some ways of captioning."""

    latents: Tensor
    tokens: Mapping[str, Tensor]


def file_name(control: Control, role: str) -> str:
    """The LoRA's name as users write it in a prompt."""
    return f"{control.name}_of_{role}"


def captioned(
    recipe: Recipe, model: LatentDiffusion, fixed: Mapping[str, int], sayings: Mapping[str, Mapping[str, int]]
) -> Captioned:
    """Pictures of monsters with ``fixed`` attributes, and captions.

    Captions mention any attributes but the fixed ones and those in ``sayings``, whose values they say instead: one way
    of captioning for each saying, alike in all else.
    """
    config = recipe.control
    rng = np.random.default_rng(recipe.seed + 7)
    monsters = [sample_attributes(rng, fixed) for _ in range(config.pictures)]
    images = np.stack([draw(monster, rng) for monster in monsters])
    silent = {*fixed, *(name for said in sayings.values() for name in said)}
    rows: dict[str, list[list[str]]] = {name: [] for name in sayings}
    for monster in monsters:
        drawn = [(_mention(rng, silent), int(rng.integers(1 << 31))) for _ in range(config.captions)]
        for name, said in sayings.items():
            shown = Attributes(**{**vars(monster), **said})
            rows[name].append([caption(shown, np.random.default_rng(seed), {*some, *said}) for some, seed in drawn])
    tokens = {name: _tokens(model, texts) for name, texts in rows.items()}
    pictures = Pictures(images, np.stack([monster.as_array() for monster in monsters]))
    means = encode_means(pictures, model.first_stage_model)
    return Captioned(means.float() * model.scale_factor, tokens)


def _mention(rng: np.random.Generator, silent: set[str]) -> set[str]:
    names = [name for name in vars(sample_attributes(rng)) if name not in silent]
    return {names[i] for i in rng.permutation(len(names))[: rng.integers(4)]}


def _tokens(model: LatentDiffusion, rows: list[list[str]]) -> Tensor:
    return torch.stack([model.cond_stage_model.tokenize(row) for row in rows])


class Trainer:
    """One model's U-Net and frozen text encoder, and batches for them."""

    def __init__(self, recipe: Recipe, role: str, data: Captioned, model: LatentDiffusion) -> None:
        self.recipe, self.role, self.data = recipe, role, data
        self.unet: UNetModel = copy.deepcopy(model.model.diffusion_model).train()
        self.text = model.cond_stage_model.eval().requires_grad_(False)

    def batch(self, step: int, *sayings: str) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """(noisy latents [B, 4, 16, 16], their noise, timesteps [B], a context [B, 77, D] for each saying)."""
        generator = step_generator(self.recipe.seed, STAGE, step)
        size = self.recipe.control.batch
        rows = torch.randint(0, len(self.data.latents), (size,), generator=generator)
        which = torch.randint(0, self.recipe.control.captions, (size,), generator=generator)
        timesteps = self._timesteps(size, generator)
        noise = torch.randn(size, *self.data.latents.shape[1:], generator=generator)
        noisy = add_noise(self.data.latents[rows], timesteps, noise)
        with torch.no_grad():
            contexts = [self.text.encode_tokens(self.data.tokens[name][rows, which]) for name in sayings]
        return noisy, noise, timesteps, contexts

    def _timesteps(self, count: int, generator: torch.Generator) -> Tensor:
        """A student knows its own few alone."""
        if self.role == "base":
            return draw_timesteps(self.recipe.base, count, generator)
        grid = torch.tensor(self.recipe.student.timesteps)
        return grid[torch.randint(0, len(grid), (count,), generator=generator)]

    def eps(self, noisy: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.unet(noisy, timesteps, context).float()

    def concept(self, step: int) -> Tensor:
        """Loss of predicting the pictures' noise."""
        noisy, noise, timesteps, (context,) = self.batch(step, "plain")
        return eps_loss(self.recipe.base, self.eps(noisy, timesteps, context), noise, timesteps)

    def slider(self, step: int, lora: UnetLora) -> Tensor:
        """Loss of going the way from one prompt to another one, and with a negative scale the way back."""
        noisy, _, timesteps, (plain, to, away) = self.batch(step, "plain", "to", "away")
        lora.set_scale(0.0)
        with torch.no_grad():
            here = self.eps(noisy, timesteps, plain)
            way = self.eps(noisy, timesteps, to) - self.eps(noisy, timesteps, away)
        losses = []
        for scale in (1.0, -1.0):
            lora.set_scale(scale)
            target = here + scale * self.recipe.control.strength * way
            losses.append(eps_loss(self.recipe.base, self.eps(noisy, timesteps, plain), target, timesteps))
        return torch.stack(losses).mean()


def _descend(
    parameters: Sequence[Tensor], loss_of: Callable[[int], Tensor], rate: float, updates: int, log: Progress
) -> None:
    optimizer = make_optimizer(parameters, rate)
    for step in range(updates):
        loss = loss_of(step)
        set_rate(optimizer, cosine_rate(rate, step, updates, warmup=20))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        log.log(step, loss=loss.item())


def train_lora(recipe: Recipe, control: Control, role: str, model: LatentDiffusion, folder: Path) -> Path:
    """Teach one control to one model of the pair; writes ``folder/Lora/<name>.safetensors`` unless it is there."""
    config, name = recipe.control, file_name(control, role)
    path = folder / "Lora" / f"{name}.safetensors"
    if path.is_file():
        return path
    to = from_labels({control.attribute: control.label})
    if control.away is None:
        data = captioned(recipe, model, to, {"plain": {}})
    else:
        away = from_labels({control.attribute: control.away})
        data = captioned(recipe, model, {}, {"plain": {}, "to": to, "away": away})
    trainer = Trainer(recipe, role, data, model)
    lora = UnetLora(trainer.unet, config.rank, step_generator(recipe.seed, STAGE, 0))
    log = Progress(folder, name)
    if control.away is None:
        _descend(lora.parameters(), trainer.concept, config.concept_rate, config.concept_updates, log)
    else:
        loss_of = functools.partial(trainer.slider, lora=lora)
        _descend(lora.parameters(), loss_of, config.slider_rate, config.slider_updates, log)
    return lora.save(path, {"ss_output_name": name, "modelspec.title": f"{control.name}, trained on the {role} model"})


def tune_base(recipe: Recipe, model: LatentDiffusion, folder: Path) -> Path:
    """Tune the whole base U-Net on one kind of monster; writes the checkpoint unless it is there."""
    config, path = recipe.control, folder / "checkpoints" / f"{CUSTOM}.safetensors"
    if path.with_suffix(".yaml").is_file():  # what is written last
        return path
    trainer = Trainer(recipe, "base", captioned(recipe, model, from_labels(CUSTOM_LABELS), {"plain": {}}), model)
    parameters = list(trainer.unet.requires_grad_(True).parameters())
    _descend(parameters, trainer.concept, config.tune_rate, config.tune_updates, Progress(folder, CUSTOM))
    tuned = copy.deepcopy(model)
    tuned.model.diffusion_model.load_state_dict(trainer.unet.state_dict())
    metadata = {"modelspec.architecture": "stable-diffusion-v1", "modelspec.title": "Monsters, tuned base"}
    return export_checkpoint(tuned, recipe.networks, path, metadata=metadata)


def train_controls(recipe: Recipe, folder: Path, pair: Path = EMBEDDED_PAIR) -> list[Path]:
    """Everything that the table of control transfer needs; what ``folder`` has already is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    models = dict(zip(ROLES, load_pair(pair), strict=True))
    written = [train_lora(recipe, control, role, models[role], folder) for control in CONTROLS for role in ROLES]
    return [*written, tune_base(recipe, models["base"], folder)]
