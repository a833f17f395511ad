"""python -m embedded.demo.transfer --url http://127.0.0.1:7860 --out DIR

Control transfer, measured on a running WebUI: LoRAs and sliders that were trained on one model of the trained pair act
on base, distilled and hybrid; and a tuned base's style is carried over to the distilled model. The WebUI needs the pair
and what `python -m embedded.distill controls` makes. Writes transfer.json, table.md and grids.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embedded.distill.control import CONTROLS, CUSTOM, CUSTOM_LABELS, ROLES, Control, file_name
from embedded.monsters import from_labels
from embedded.monsters.reader import Reader, load_reader
from extension_core.measures import Replicates, bootstrap, difference, image_grid, json_number

from .client import WebUI
from .command import run_command
from .modes import BASE, DISTILLED, MODES, SCRIPT, Mode

PROMPTS = ("a monster", "a smiling monster")
"""They say nothing of what the controls move."""
FIRST_SEED = 2000
STRENGTHS = (0.0, 0.5, 1.0, 1.5)
GRID_SEEDS = 8


@dataclass(frozen=True)
class Pictures:
    """One way's images uint8 [n, h, w, 3], and what was read from them, by attribute int [n]."""

    images: np.ndarray
    values: Mapping[str, np.ndarray]

    def share(self, labels: Mapping[str, int]) -> Replicates:
        """Share of legible images that show all the labels; drawn again over seeds."""
        legible = self.values["legible"] == 1
        shown = np.all([self.values[name] == index for name, index in labels.items()], axis=0) & legible

        def statistic(weights: np.ndarray) -> np.ndarray:
            with np.errstate(invalid="ignore"):
                return (weights @ shown) / (weights @ legible)

        return bootstrap([statistic], [len(legible)])

    def legible_share(self) -> float:
        """Share of images in which anything could be read."""
        return round(float(np.mean(self.values["legible"])), 3)


class Measurement:
    """Requests to one WebUI, each made once: images of every prompt from the same seeds."""

    def __init__(self, webui: WebUI, reader: Reader, seeds: int) -> None:
        self.webui, self.reader, self.seeds = webui, reader, seeds
        self._known: dict[tuple[str, str, str], Pictures] = {}

    def pictures(self, mode: Mode, tag: str = "", more: Mapping[str, Any] | None = None) -> Pictures:
        """Images of a mode whose prompts end with ``tag``; ``more`` goes to the extension."""
        if more and mode.arguments is not None:
            mode = dataclasses.replace(mode, arguments={**mode.arguments, **more})
        key = mode.name, tag, json.dumps(more, sort_keys=True)
        if key not in self._known:
            payloads = [mode.payload(f"{prompt}{tag}", FIRST_SEED, self.seeds) for prompt in PROMPTS]
            images = np.concatenate([self.webui.txt2img(payload).images[: self.seeds] for payload in payloads])
            self._known[key] = Pictures(images, self.reader.read(images).values)
        return self._known[key]


def control_rows(measurement: Measurement, out: Path) -> list[dict[str, Any]]:
    """One row for each LoRA and direction: the share of images with its label without and with it, by mode."""
    rows = []
    for control in CONTROLS:
        labels = from_labels({control.attribute: control.label})
        for role in ROLES:
            for strength in (1.0,) if control.away is None else (1.0, -1.0):
                tag = f" <lora:{file_name(control, role)}:{strength:g}>"
                shown = {mode.name: measurement.pictures(mode, tag) for mode in MODES}
                row = {"control": control.name, "label": control.label, "trained_on": role, "strength": strength}
                for mode in MODES:
                    row[mode.name] = change(measurement.pictures(mode), shown[mode.name], labels)
                rows.append(row)
                _control_grid(measurement, control, role, strength, shown, out)
                _say(_control_line(row))
    return rows


def custom_rows(measurement: Measurement, out: Path) -> list[dict[str, Any]]:
    """One row for each strength s of D + s (F - B), with F loaded: the share of images as those F was tuned on."""
    by_name = {mode.name: mode for mode in MODES}
    alone = measurement.pictures(by_name["base"])
    labels = from_labels(CUSTOM_LABELS)
    rows: list[dict[str, Any]] = [{"strength": None, "base": alone.share(labels).interval().as_json()}]
    grids = [alone.images[:GRID_SEEDS]]
    for strength in STRENGTHS:
        row: dict[str, Any] = {"strength": strength}
        for name in ("distilled", "hybrid", "hybrid_k2"):
            more = {"carry_from": BASE, "carry_strength": strength}
            pictures = measurement.pictures(by_name[name], more=more)
            row[name] = pictures.share(labels).interval().as_json()
            row[f"{name}_legible"] = pictures.legible_share()
            if name == "distilled":
                grids.append(pictures.images[:GRID_SEEDS])
        rows.append(row)
        _say(json.dumps(row))
    names = ["the tuned base alone", *(f"distilled, s = {strength:g}" for strength in STRENGTHS)]
    labels_below = [name if i == 0 else "" for name in names for i in range(GRID_SEEDS)]
    title = "A tuned base's style carried over to the distilled model"
    image_grid(np.concatenate(grids), GRID_SEEDS, title, PROMPTS[0], labels_below).save(out / "custom_base.png")
    return rows


def change(before: Pictures, after: Pictures, labels: Mapping[str, int]) -> dict[str, Any]:
    """Shares without and with a control, None where no image was legible, and the change's interval."""
    shares = before.share(labels), after.share(labels)
    moved = difference(shares[1], shares[0]).interval().as_json()
    without, with_it = (json_number(share.estimate) for share in shares)
    return {"without": without, "with": with_it, "change": moved, "legible": after.legible_share()}


def _control_grid(
    measurement: Measurement, control: Control, role: str, strength: float, shown: Mapping[str, Pictures], out: Path
) -> None:
    """Two rows for each mode: without and with it."""
    rows, labels = [], []
    for mode in MODES[:3]:
        for pictures, words in ((measurement.pictures(mode), mode.name), (shown[mode.name], f"{strength:+g}")):
            rows.append(pictures.images[:GRID_SEEDS])
            labels += [words, *[""] * (GRID_SEEDS - 1)]
    title = f"{control.name}, trained on the {role} model"
    grid = image_grid(np.concatenate(rows), GRID_SEEDS, title, f"{PROMPTS[0]}; without and with it, by mode", labels)
    sign = "" if strength > 0 else "_minus"
    grid.save(out / f"{file_name(control, role)}{sign}.png")


def _control_line(row: Mapping[str, Any]) -> str:
    cells = [f"{row['control']} x {row['strength']:g}, trained on {row['trained_on']}"]
    cells += [
        f"{mode.name} {_percent(row[mode.name]['without'])} -> {_percent(row[mode.name]['with'])}" for mode in MODES
    ]
    return "; ".join(cells)


def _percent(share: float | None, form: str = ".0%") -> str:
    """None where no image was legible."""
    return "none legible" if share is None else format(share, form)


def control_table(rows: list[dict[str, Any]]) -> str:
    """Markdown: without -> with, the change's 95 % interval in points of a hundred."""
    names = [mode.name for mode in MODES]
    lines = [f"| control | trained on | strength | {' | '.join(names)} |", "|---" * (3 + len(names)) + "|"]
    for row in rows:
        cells = []
        for name in names:
            cell, moved = row[name], row[name]["change"]
            span = ", ".join(_percent(moved[end], "+.0%").rstrip("%") for end in ("low", "high"))
            cells.append(f"{_percent(cell['without'])} → {_percent(cell['with'])} [{span}]")
        lines.append(f"| {row['control']} | {row['trained_on']} | {row['strength']:+g} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def custom_table(rows: list[dict[str, Any]]) -> str:
    """Markdown: share of images as the tuned base's, legible ones in brackets."""
    names = ("distilled", "hybrid", "hybrid_k2")
    lines = [f"| s | {' | '.join(names)} |", "|---" * (1 + len(names)) + "|"]
    for row in rows[1:]:
        cells = [f"{_percent(row[name]['estimate'])} ({row[f'{name}_legible']:.0%} legible)" for name in names]
        lines.append(f"| {row['strength']:g} | {' | '.join(cells)} |")
    lines.append(f"\nThe tuned base alone: {_percent(rows[0]['base']['estimate'])}.")
    return "\n".join(lines) + "\n"


def transfer(url: str, out: Path, seeds: int) -> dict[str, Any]:
    """Measure everything, write it into ``out`` and return the JSON's content."""
    webui, reader = WebUI(url), load_reader()
    webui.require_script(SCRIPT)
    webui.require_loras([file_name(control, role) for control in CONTROLS for role in ROLES])
    out.mkdir(parents=True, exist_ok=True)
    titles = {name: webui.checkpoint_title(name) for name in (BASE, DISTILLED, CUSTOM)}
    with webui.checkpoint_kept():
        webui.load_checkpoint(titles[BASE])
        controls = control_rows(Measurement(webui, reader, seeds), out)
        webui.load_checkpoint(titles[CUSTOM])
        custom = custom_rows(Measurement(webui, reader, seeds), out)
    report = {"prompts": list(PROMPTS), "seeds": seeds, "controls": controls, "custom": custom}
    (out / "transfer.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    text = f"{control_table(controls)}\n{custom_table(custom)}"
    (out / "table.md").write_text(text, encoding="utf-8")
    _say(text)
    return report


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(run_command("transfer", __doc__, GRID_SEEDS, transfer))
