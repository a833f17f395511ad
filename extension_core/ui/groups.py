"""Which options stand in which part of the panel, and what a closed group says of those that are set. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from extension_core.options.fields import Field
from extension_core.options.hybrid import BY_NAME, Options

Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Group:
    """Options behind a fold of their own.

    Attributes:
        name: what ids of its elements hold.
        title: on the fold.
        rows: names of options; those of a row stand beside one another.
    """

    name: str
    title: str
    rows: Rows

    @property
    def options(self) -> tuple[str, ...]:
        """Its options in the order of the page."""
        return tuple(name for row in self.rows for name in row)


# What everybody has to decide, above the plan.
FIRST_GLANCE: Rows = (
    ("distilled_model",),
    ("switch_step",),
)
GROUPS: tuple[Group, ...] = (
    Group(
        "guidance",
        "Guidance and steps",
        (
            ("mode", "passes"),
            ("base_steps",),
            ("base_cfg", "distilled_cfg"),
            ("base_sampler", "schedule"),
            ("loaded_is", "family"),
            ("text_encoder",),
            ("file_steps",),
        ),
    ),
    Group(
        "style",
        "LoRAs and style",
        (
            ("lora_strength", "lora_targets"),
            ("base_lora_factor", "distilled_lora_factor"),
            ("carry_from", "carry_strength"),
        ),
    ),
    Group("memory", "Memory", (("residency",),)),
    Group("measure", "Measure", (("grid_diversity",),)),
)
_DEFAULTS = Options()


def names() -> Iterator[str]:
    """Every option that has a place on the page below the box."""
    yield from (name for row in FIRST_GLANCE for name in row)
    yield from (name for group in GROUPS for name in group.options)


def default_of(name: str) -> Any:
    """What the page begins with."""
    started = BY_NAME[name].on_page
    return getattr(_DEFAULTS, name) if started is None else started


def changed(group: Group, options: Options) -> str:
    """What of a group is not as it comes, e.g. `base CFG 3, N 6`; "" if all is."""
    values = {name: getattr(options, name) for name in group.options}
    usual = {name: (default_of(name), getattr(_DEFAULTS, name)) for name in group.options}
    return ", ".join(_said(BY_NAME[name], value) for name, value in values.items() if value not in usual[name])


def _said(spec: Field, value: Any) -> str:
    if spec.kind == "flag":
        return spec.label[0].lower() + spec.label[1:]
    if spec.kind == "model":
        return f"{spec.short} {PurePath(str(value).replace(chr(92), '/')).name}"
    shown = f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ")
    return f"{spec.short} {shown}" if spec.short else shown
