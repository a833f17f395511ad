"""python -m extension_core.demo.residency --url http://127.0.0.1:7860 --out DIR

What 8 bits change: the same hybrid requests with the base's steps computed exactly and from 8 bits, on a running WebUI
with the trained pair. Writes residency.json, table.md and grids.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from extension_core.diversity import PromptImages, distance_matrix, image_grid, json_number, measure, pairwise_mean
from extension_core.monsters import free_attributes, parse_prompt
from extension_core.monsters.reader import Reader, load_reader

from .client import WebUI
from .command import run_command
from .modes import BASE, DISTILLED, MODES, PROMPTS, SCRIPT, Mode

FIRST_SEED = 3000
GRID_SEEDS = 8
HYBRIDS = tuple(mode for mode in MODES if mode.name.startswith("hybrid"))


def images_of(webui: WebUI, mode: Mode, residency: str, seeds: int) -> list[PromptImages]:
    """Every prompt's images from the same seeds; nothing is read from them yet."""
    mode = dataclasses.replace(mode, arguments={**(mode.arguments or {}), "residency": residency})
    sets = []
    for prompt in PROMPTS:
        answer = webui.txt2img(mode.payload(prompt, FIRST_SEED, seeds))
        required = parse_prompt(prompt)
        sets.append(PromptImages(prompt, answer.images[:seeds], {}, required, free_attributes(required)))
    return sets


def compared(reader: Reader, exact: list[PromptImages], in_8_bits: list[PromptImages]) -> dict[str, Any]:
    """How far images of the same seed are apart, beside how far those of different seeds are."""
    read = [
        [dataclasses.replace(item, values=reader.read(item.images).values) for item in sets]
        for sets in (exact, in_8_bits)
    ]
    pairs = list(zip(*read, strict=True))
    levels = [np.abs(a.images.astype(float) - b.images.astype(float)).mean((1, 2, 3)) for a, b in pairs]
    same_seed = [
        distance_matrix(np.stack(pair))[0, 1] for a, b in pairs for pair in zip(a.images, b.images, strict=True)
    ]
    alike = [np.mean(np.asarray(a.values[name]) == b.values[name]) for a, b in pairs for name in a.values]
    measured = [measure(sets) for sets in read]
    return {
        "mean_levels": float(np.mean(np.concatenate(levels))),
        "largest_mean_levels": float(np.max(np.concatenate(levels))),
        "dissimilarity_same_seed": float(np.mean(same_seed)),
        "dissimilarity_between_seeds": float(np.mean([pairwise_mean(distance_matrix(a.images)) for a, _ in pairs])),
        "attributes_alike": float(np.mean(alike)),
        "entropy": [json_number(item.entropy.estimate) for item in measured],
        "adherence": [json_number(item.adherence.estimate) for item in measured],
    }


def grid(exact: PromptImages, in_8_bits: PromptImages, mode: Mode) -> Any:
    """Two rows of the same seeds."""
    images = np.concatenate([exact.images[:GRID_SEEDS], in_8_bits.images[:GRID_SEEDS]])
    labels = [word if i == 0 else "" for word in ("exact", "8 bits") for i in range(GRID_SEEDS)]
    return image_grid(
        images, GRID_SEEDS, f"The base's steps exactly and from 8 bits: {mode.name}", exact.prompt, labels
    )


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Markdown: one row for each hybrid."""
    columns = ("", "mean difference (of 255)", "largest", "(1 - SSIM) / 2, same seed", "between seeds")
    columns += ("attributes alike", "entropy, exact / 8 bits", "adherence, exact / 8 bits")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, row in rows.items():
        entropy, adherence = (" / ".join(f"{value:.3f}" for value in row[key]) for key in ("entropy", "adherence"))
        lines.append(
            f"| {name} | {row['mean_levels']:.2f} | {row['largest_mean_levels']:.2f} | "
            f"{row['dissimilarity_same_seed']:.4f} | {row['dissimilarity_between_seeds']:.4f} | "
            f"{row['attributes_alike']:.1%} | {entropy} | {adherence} |"
        )
    return "\n".join(lines) + "\n"


def run(url: str, out: Path, seeds: int) -> dict[str, dict[str, Any]]:
    """Measure, write into ``out`` and return the JSON's content."""
    webui, reader = WebUI(url), load_reader()
    webui.require_script(SCRIPT)
    webui.checkpoint_title(DISTILLED)
    title = webui.checkpoint_title(BASE)
    out.mkdir(parents=True, exist_ok=True)
    rows = {}
    with webui.checkpoint_kept():
        webui.load_checkpoint(title)
        for mode in HYBRIDS:
            exact, in_8_bits = (images_of(webui, mode, residency, seeds) for residency in ("both", "8bit"))
            rows[mode.name] = compared(reader, exact, in_8_bits)
            grid(exact[0], in_8_bits[0], mode).save(out / f"{mode.name}.png")
    (out / "residency.json").write_text(json.dumps({"seeds": seeds, **rows}, indent=1) + "\n", encoding="utf-8")
    (out / "table.md").write_text(table(rows), encoding="utf-8")
    print(table(rows), flush=True)
    return rows


if __name__ == "__main__":
    sys.exit(run_command("residency", __doc__, GRID_SEEDS, run))
