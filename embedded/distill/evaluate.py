"""Measures a pair: diversity and adherence of base, student and hybrids on held-out ambiguous prompts.

Every way of sampling starts from the same noise for the same seed. Diversity counts only images that follow the prompt,
as the attribute reader sees them; adherence stands beside it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from embedded.monsters import ATTRIBUTES, caption, free_attributes, parse_prompt, sample_attributes
from embedded.monsters.reader import Reader, load_reader
from embedded.networks import LatentDiffusion
from extension_core.measures import Measured, PromptImages, compare, image_grid, measure

from .data import to_uint8
from .export import PAIR_NAMES, load_pair
from .sampling import Denoiser, Step, base_steps, run_steps

PROMPTS = (
    "a monster",
    "a green monster",
    "a smiling monster, at night",
    "a monster with two big eyes",
    "a monster with two horns",
    "a spotted monster, by the sea",
)
TIMESTEPS = (999, 759, 499, 259)
BASE_STEPS = 20
FIRST_SEED = 1000
CHUNK = 32

Plan = Callable[[Denoiser, Denoiser], list[Step]]


def four_steps(switch: int, base_fresh: bool, student_fresh: bool, base_cfg: float = 1.0, start: int = 0) -> Plan:
    """Steps ``start`` to 3 of the student's grid, those before ``switch`` by the base."""

    def steps(base: Denoiser, student: Denoiser) -> list[Step]:
        ends = (*TIMESTEPS[1:], -1)
        plan = []
        for index in range(start, len(TIMESTEPS)):
            by_base = index < switch
            unet, cfg = (base, base_cfg) if by_base else (student, 1.0)
            fresh = base_fresh if by_base else student_fresh
            plan.append(Step(unet, TIMESTEPS[index], ends[index], cfg, fresh))
        return plan

    return steps


def plans() -> dict[str, Plan]:
    """Every measured way of sampling by its name in the table, base and distilled first."""
    table: dict[str, Plan] = {
        "base": lambda base, _: base_steps(base, BASE_STEPS, 1.0),
        "distilled": four_steps(0, True, True),
        "distilled, noise kept": four_steps(0, False, False),
    }
    for k in (1, 2, 3):
        table[f"hybrid k={k}, LCM throughout"] = four_steps(k, True, True)
        table[f"hybrid k={k}, base keeps noise, then LCM"] = four_steps(k, False, True)
        if k < 3:  # With one step of the student left there is nothing to renoise: the same as the line above.
            table[f"hybrid k={k}, noise kept throughout"] = four_steps(k, False, False)
    for cfg in (1.5, 3.0):
        table[f"hybrid k=1, LCM throughout, base CFG {cfg:g}"] = four_steps(1, True, True, cfg)
    table["skip first"] = four_steps(0, True, True, start=1)
    table["base alone, the four steps, noise kept"] = four_steps(4, False, False)
    for cfg in (1.5, 3.0):
        table[f"base, CFG {cfg:g}"] = lambda base, _, cfg=cfg: base_steps(base, BASE_STEPS, cfg)
    return table


def noises(seeds: range, count: int, shape: tuple[int, ...] = (4, 16, 16)) -> list[Tensor]:
    """``count`` noises [B, *shape]; the i-th of a seed depends on (seed, i) alone."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return [torch.stack([torch.randn(shape, generator=generator) for generator in generators]) for _ in range(count)]


class Pair:
    """A base and a distilled model, ready to make pictures by any plan."""

    def __init__(self, base: LatentDiffusion, distilled: LatentDiffusion) -> None:
        self.base, self.distilled = base, distilled

    @torch.inference_mode()
    def pictures(self, prompt: str, plan: Plan, seeds: range) -> np.ndarray:
        """uint8 [n, 128, 128, 3], one for each seed."""
        parts = []
        steps = plan(self.base.model.diffusion_model, self.distilled.model.diffusion_model)
        context, empty = self.base.cond_stage_model([prompt]), self.base.cond_stage_model([""])
        for first in range(seeds.start, seeds.stop, CHUNK):
            chunk = range(first, min(first + CHUNK, seeds.stop))
            start, *fresh = noises(chunk, 1 + len(TIMESTEPS))
            fresh += [start] * len(steps)  # Longer plans keep their noise and never look at these.
            size = (len(chunk), -1, -1)
            latents = run_steps(steps, start, context.expand(size), empty.expand(size), fresh)
            with torch.autocast("cpu", torch.bfloat16):  # The U-Nets run in float32; the decoder need not.
                parts.append(to_uint8(self.base.decode_latent(latents)))
        return np.concatenate(parts)


def kept_pictures(folder: Path, name: str, make: Callable[[], list[np.ndarray]]) -> np.ndarray:
    """uint8 [prompts, n, 128, 128, 3], kept in ``folder`` so that a stopped measurement goes on where it was."""
    path = folder / f"{file_name(name)}.npy"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        np.save(path, np.stack(make()))
    return np.load(path)


def file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def read_pictures(reader: Reader, prompt: str, images: np.ndarray) -> PromptImages:
    required = parse_prompt(prompt)
    return PromptImages(prompt, images, reader.read(images).values, required, free_attributes(required))


def follow_by_attribute(pair: Pair, reader: Reader, plan: Plan, kept: Path, role: str) -> dict[str, float]:
    """Share of pictures that show the one thing their prompt asks for, for each attribute; eight seeds a label."""
    rng = np.random.default_rng(FIRST_SEED)
    seeds = range(FIRST_SEED, FIRST_SEED + 8)
    shares = {}
    for name, labels in ATTRIBUTES.items():
        monsters = [sample_attributes(rng, {name: index}) for index in range(len(labels))]
        prompts = [caption(monster, rng, {name}) for monster in monsters]

        def draw(prompts: list[str] = prompts) -> list[np.ndarray]:
            return [pair.pictures(prompt, plan, seeds) for prompt in prompts]

        pictures = kept_pictures(kept, f"{role} follows {name}", draw)
        read = [reader.read(images).values[name] == index for index, images in enumerate(pictures)]
        shares[name] = round(float(np.mean(read)), 3)
    return shares


def table(compared: Mapping[str, Any]) -> str:
    """Markdown: one row for each way of sampling, 95 % intervals in brackets."""

    def cell(value: Mapping[str, float] | None, percent: bool = False) -> str:
        if value is None or value["estimate"] is None:  # none of the images follows, say
            return ""
        low, high = value["low"], value["high"]
        if percent:
            return f"{value['estimate']:.0%} [{low:.0%}, {high:.0%}]"
        return f"{value['estimate']:.3f} [{low:.3f}, {high:.3f}]"

    lines = [
        "| | attribute entropy (nats) | of the gap | perceptual distance | of the gap | follow |",
        "|---" * 6 + "|",
    ]
    for name, row in compared.items():
        gap = row.get("share_of_gap", {})
        cells = [cell(row["entropy"]), cell(gap.get("entropy"), True), cell(row["perceptual"])]
        cells += [cell(gap.get("perceptual"), True), cell(row["adherence"])]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def fingerprint(folder: Path) -> str:
    """Eight hexadecimal digits of the two checkpoints' SHA-256."""
    digest = hashlib.sha256()
    for name in PAIR_NAMES:
        digest.update((folder / f"{name}.safetensors").read_bytes())
    return digest.hexdigest()[:8]


def evaluate_pair(folder: Path, out: Path, count: int = 64, names: tuple[str, ...] = ()) -> list[Path]:
    """Writes results.json, table.md and a grid for each way of sampling into ``out``; returns what was written.

    ``names`` picks ways of sampling (all where empty); ``count`` seeds are used for each prompt.
    """
    out.mkdir(parents=True, exist_ok=True)
    pair = Pair(*load_pair(folder))
    reader = load_reader()
    seeds = range(FIRST_SEED, FIRST_SEED + count)
    kept = out / f"pictures_{fingerprint(folder)}_{count}"
    results: dict[str, Measured] = {}
    written = []
    for name, plan in plans().items():
        if names and name not in names:
            continue
        began = time.monotonic()
        pictures = kept_pictures(
            kept, name, lambda plan=plan: [pair.pictures(prompt, plan, seeds) for prompt in PROMPTS]
        )
        sets = [read_pictures(reader, prompt, images) for prompt, images in zip(PROMPTS, pictures, strict=True)]
        results[name] = measured = measure(sets)
        written.append(_save_grid(out, name, sets))
        entropy, follow = measured.entropy.interval(), measured.adherence.interval()
        print(f"{name}: entropy {entropy}, follow {follow} ({time.monotonic() - began:.0f} s)", flush=True)
    about = {"prompts": PROMPTS, "images_per_prompt": count, "first_seed": FIRST_SEED, "timesteps": TIMESTEPS}
    compared = compare(results)
    follows = {role: follow_by_attribute(pair, reader, plans()[role], kept, role) for role in ("base", "distilled")}
    report = {"about": about, "results": compared, "follows_by_attribute": follows}
    (out / "results.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (out / "table.md").write_text(table(compared), encoding="utf-8")
    return [*written, out / "results.json", out / "table.md"]


def _save_grid(out: Path, name: str, sets: list[PromptImages]) -> Path:
    path = out / f"{file_name(name)}.png"
    images = np.concatenate([item.images[:8] for item in sets[:4]])
    image_grid(images, 8, name, " | ".join(item.prompt for item in sets[:4])).save(path)
    return path
