"""Every argument of the two models' turns, declared once.

The panel, the API dict, the positional arguments, the infotext and the README table are derived from `FIELDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from extension_core.options.fields import Field, option, parse_value, unknown_key


@dataclass(frozen=True)
class Options:
    """One request's settings. Defaults reproduce the paper (section 5: k = 1, no guidance, one schedule)."""

    enabled: bool = option(
        False,
        "flag",
        "Diversity Distillation",
        "Run the loaded checkpoint for the first step and the distilled model for the rest.",
        short="diversity",
    )
    distilled_model: str = option(
        "",
        "model",
        "Distilled model",
        "The few-step model (DMD2, Lightning, Turbo, LCM, ...) that finishes the image: a checkpoint, a U-Net or a "
        "LoRA of the loaded checkpoint's architecture.",
        short="",
        cost=0.9,
    )
    family: str = option(
        "auto",
        "choice",
        "Family",
        "How the distilled model was trained. It sets steps, sampler and schedule. Auto reads the file's name and "
        "metadata; custom keeps the sampler, steps and schedule chosen above.",
        choices=("auto", "dmd2", "lightning", "turbo", "lcm", "hyper", "pcm", "tcd", "pd", "custom"),
        short="family",
    )
    mode: str = option(
        "hybrid",
        "choice",
        "Mode",
        "Hybrid: base first, then distilled. Distilled: only the distilled model. Base: only the loaded checkpoint. "
        "Skip first: no base at all, the distilled model starts at the switch step from pure noise.",
        choices=("hybrid", "distilled", "base", "skip_first"),
        short="",
    )
    switch_step: int = option(
        1,
        "whole",
        "Switch step k",
        "How many of the distilled model's steps the base replaces. More gives more variety and follows the prompt a "
        "little less.",
        maximum=150,
        short="k",
    )
    base_steps: int | None = option(
        None,
        "whole_or_null",
        "Base steps N",
        "How many steps the base takes down to the same noise level; same as k unless you want them finer.",
        minimum=1,
        maximum=150,
        short="N",
        zero="k",
    )
    base_cfg: float = option(
        1.0,
        "number",
        "Base CFG",
        "Guidance of the base's steps. 1 is no guidance (half the work); higher follows the prompt more and varies "
        "less.",
        maximum=100,
        short="base CFG",
    )
    distilled_cfg: float = option(
        1.0,
        "number",
        "Distilled CFG",
        "Guidance of the distilled model's steps. Almost all distilled models want 1.",
        maximum=100,
        short="dist. CFG",
    )
    base_sampler: str = option(
        "same",
        "sampler",
        "Base sampler",
        "Sampler of the base's steps: the same as the distilled model's (as in the paper), or another of the host's.",
        short="base by",
    )
    schedule: str = option(
        "family",
        "choice",
        "Schedule",
        "Noise levels of the steps: the family's (for DMD2 those of the paper), those of its training where they are "
        "others (DMD2), or the host's schedule type.",
        choices=("family", "trained", "host"),
        short="schedule",
    )
    text_encoder: str = option(
        "auto",
        "choice",
        "Text encoder",
        "Whose reading of the prompt the distilled model gets. Auto: the base's if both are the same or the second "
        "file has none, its own if they differ or the LoRA changes it.",
        choices=("auto", "base", "own"),
        short="text by",
        cost=0.6,
    )
    passes: str = option(
        "first",
        "choice",
        "Passes",
        "Where the base takes part: the first pass, the hires pass, or both. The other pass runs on the distilled "
        "model alone.",
        choices=("first", "hires", "both"),
        short="passes",
    )
    lora_strength: float = option(
        1.0,
        "number",
        "LoRA strength",
        "Weight of a LoRA that was chosen as distilled model; no effect on checkpoints and U-Nets. Almost all want 1.",
        maximum=10,
        short="LoRA",
        cost=0.7,
    )
    lora_targets: str = option(
        "both",
        "choice",
        "LoRA targets",
        "Which model the LoRAs in the prompt change: both (what steers the base steers the distilled model), the base "
        "alone, or the distilled model alone.",
        choices=("both", "base", "distilled"),
        short="LoRAs on",
        cost=0.3,
        earlier_labels=("Prompt's LoRAs on",),
    )
    base_lora_factor: float = option(
        1.0,
        "number",
        "Base LoRA factor",
        "Weights of the prompt's LoRAs are multiplied by this for the base's steps.",
        maximum=10,
        short="base LoRAs ×",
        cost=0.3,
        earlier_labels=("Base LoRAs ×",),
    )
    distilled_lora_factor: float = option(
        1.0,
        "number",
        "Distilled LoRA factor",
        "Weights of the prompt's LoRAs are multiplied by this for the distilled model's steps.",
        maximum=10,
        short="dist. LoRAs ×",
        cost=0.3,
        earlier_labels=("Distilled LoRAs ×",),
    )
    carry_from: str = option(
        "",
        "model",
        "Carry from",
        "The model that the loaded checkpoint was fine-tuned from. What the fine-tune changed is added to the "
        "distilled model: distilled + s (loaded - origin). None adds nothing.",
        short="from",
        cost=0.8,
        earlier_labels=("Carry style: origin",),
    )
    carry_strength: float = option(
        1.0,
        "number",
        "Carry strength",
        "How much of the fine-tune the distilled model gets; 1 is all of it.",
        maximum=4,
        short="s",
        cost=0.7,
        earlier_labels=("Carry style: s",),
    )
    residency: str = option(
        "auto",
        "choice",
        "Residency",
        "Where the two models live. Both: on the graphics card. RAM: the idle one waits in RAM. 8bit: the base's steps "
        "are computed from a copy in 8 bits, which changes them a little. Auto: both if they fit, else RAM.",
        choices=("auto", "both", "ram", "8bit"),
        short="memory",
        cost=0.5,
        earlier_labels=("Memory",),
    )
    grid_diversity: bool = option(
        False,
        "flag",
        "Grid diversity",
        "Write under a batch's grid, and so under each cell of an X/Y/Z plot with several seeds a cell, how different "
        "its images are: the mean distance of its pairs, 0 to 1, by a built-in measure of structure.",
        short="measure",
        earlier_labels=("Diversity under grids",),
    )
    file_steps: int | None = option(
        None,
        "whole_or_null",
        "File steps",
        "How many steps the distilled model's file was made for; empty: what its name or metadata says, if anything. "
        "DMD2 and Hyper-SD files for 1 step start at noise levels of their own. No effect on custom models.",
        minimum=1,
        maximum=150,
        short="made for",
        empty="auto",
        zero="by its name",
    )
    loaded_is: str = option(
        "base",
        "choice",
        "Loaded checkpoint is",
        "Which part the checkpoint that this WebUI has loaded plays; the model chosen here plays the other. Base: it "
        "makes the first steps. Distilled: it is the few-step model and finishes the image. Auto: distilled where its "
        "name tells a few-step family and the chosen model's tells none.",
        choices=("auto", "base", "distilled"),
        short="loaded is",
        on_page="auto",
    )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Options:
        """Build from a dict in which any key may be left out.

        Raises:
            DiversityError: a key is unknown (the nearest valid one is named) or a value is not allowed.
        """
        for key in values:
            if key not in BY_NAME:
                raise unknown_key(str(key), BY_NAME)
        return replace(cls(), **{name: parse_value(BY_NAME[name], value) for name, value in values.items()})

    def as_mapping(self) -> dict[str, Any]:
        """All values by name, JSON-ready."""
        return {spec.name: getattr(self, spec.name) for spec in FIELDS}


FIELDS: tuple[Field, ...] = tuple(Field(name=item.name, **item.metadata) for item in fields(Options))
BY_NAME: dict[str, Field] = {spec.name: spec for spec in FIELDS}
