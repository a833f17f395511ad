"""What another value of an option changes: the same requests with either, on a running WebUI with the trained pair."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embedded.monsters import free_attributes, parse_prompt
from embedded.monsters.reader import Reader, load_reader
from extension_core.measures import PromptImages, distance_matrix, image_grid, json_number, measure, pairwise_mean

from .client import WebUI
from .modes import BASE, DISTILLED, PROMPTS, SCRIPT, Mode

FIRST_SEED = 3000
GRID_SEEDS = 8


@dataclass(frozen=True)
class Comparison:
    """Two values of one option, and the ways of making an image in which both are tried.

    Attributes:
        name: of the command, and of the JSON that it writes.
        words: either value in the tables and grids.
        title: what the grids say above both rows.
    """

    name: str
    option: str
    values: tuple[str, str]
    words: tuple[str, str]
    title: str
    modes: tuple[Mode, ...]


def images_of(webui: WebUI, mode: Mode, arguments: dict[str, Any], seeds: int) -> list[PromptImages]:
    """Every prompt's images from the same seeds; nothing is read from them yet."""
    mode = dataclasses.replace(mode, arguments={**(mode.arguments or {}), **arguments})
    sets = []
    for prompt in PROMPTS:
        answer = webui.txt2img(mode.payload(prompt, FIRST_SEED, seeds))
        required = parse_prompt(prompt)
        sets.append(PromptImages(prompt, answer.images[:seeds], {}, required, free_attributes(required)))
    return sets


def compared(reader: Reader, first: list[PromptImages], second: list[PromptImages]) -> dict[str, Any]:
    """How far images of the same seed are apart, beside how far those of different seeds are."""
    read = [
        [dataclasses.replace(item, values=reader.read(item.images).values) for item in sets] for sets in (first, second)
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


def grid(first: PromptImages, second: PromptImages, mode: Mode, what: Comparison) -> Any:
    """Two rows of the same seeds."""
    images = np.concatenate([first.images[:GRID_SEEDS], second.images[:GRID_SEEDS]])
    labels = [word if i == 0 else "" for word in what.words for i in range(GRID_SEEDS)]
    return image_grid(images, GRID_SEEDS, f"{what.title}: {mode.name}", first.prompt, labels)


def table(rows: dict[str, dict[str, Any]], words: tuple[str, str]) -> str:
    """Markdown: one row for each way of making an image."""
    columns = ("", "mean difference (of 255)", "largest", "(1 - SSIM) / 2, same seed", "between seeds")
    columns += ("attributes alike", *(f"{what}, {' / '.join(words)}" for what in ("entropy", "adherence")))
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, row in rows.items():
        entropy, adherence = (" / ".join(f"{value:.3f}" for value in row[key]) for key in ("entropy", "adherence"))
        lines.append(
            f"| {name} | {row['mean_levels']:.2f} | {row['largest_mean_levels']:.2f} | "
            f"{row['dissimilarity_same_seed']:.4f} | {row['dissimilarity_between_seeds']:.4f} | "
            f"{row['attributes_alike']:.1%} | {entropy} | {adherence} |"
        )
    return "\n".join(lines) + "\n"


def run(what: Comparison, url: str, out: Path, seeds: int) -> dict[str, dict[str, Any]]:
    """Measure, write into ``out`` and return the JSON's content."""
    webui, reader = WebUI(url), load_reader()
    webui.require_script(SCRIPT)
    webui.checkpoint_title(DISTILLED)
    title = webui.checkpoint_title(BASE)
    out.mkdir(parents=True, exist_ok=True)
    rows = {}
    with webui.checkpoint_kept():
        webui.load_checkpoint(title)
        for mode in what.modes:
            first, second = (images_of(webui, mode, {what.option: value}, seeds) for value in what.values)
            rows[mode.name] = compared(reader, first, second)
            grid(first[0], second[0], mode, what).save(out / f"{mode.name}.png")
    (out / f"{what.name}.json").write_text(json.dumps({"seeds": seeds, **rows}, indent=1) + "\n", encoding="utf-8")
    (out / "table.md").write_text(table(rows, what.words), encoding="utf-8")
    print(table(rows, what.words), flush=True)
    return rows
