"""Our axes in the host's X/Y/Z plot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from modules import sd_samplers

from extension_core.errors import DiversityError
from extension_core.hosts.common.files import choices
from extension_core.hosts.common.plan.levels import sampler_unit
from extension_core.hosts.common.processing.scripts import modules_of_plot
from extension_core.hosts.common.xyz import cells
from extension_core.hosts.refusal import RequestRefused
from extension_core.options.axes import AXES, PREFIX, Axis


def add_axes() -> None:
    """Put our axes behind the host's; called in `on_before_ui`, which every "Reload UI" calls again."""
    for module in modules_of_plot():
        others = [option for option in module.axis_options if not option.label.startswith(PREFIX)]
        module.axis_options[:] = [*others, *(_option(module, axis) for axis in AXES)]


def _option(module: Any, axis: Axis) -> Any:
    """The host calls `type` for each value of a list, or of what `prepare` makes of a text."""
    return module.AxisOption(
        axis.label,
        _refusing(axis.read),
        lambda p, value, _values: cells.set_value(p, axis.spec.name, value),
        format_value=lambda _p, _option, value: axis.title(value),
        confirm=_refusing(lambda _p, values: _confirm(axis, values)),
        cost=axis.spec.cost,
        choices=None if axis.is_number else lambda: _choices(axis),
        prepare=_refusing(axis.values) if axis.is_number else None,
    )


def _refusing(inner: Callable[..., Any]) -> Callable[..., Any]:
    """The script is not a hook: what is raised here reaches the page, and an API client with its own status."""

    def call(*args: Any) -> Any:
        try:
            return inner(*args)
        except DiversityError as error:
            raise RequestRefused(str(error)) from error

    return call


def _choices(axis: Axis) -> list[str]:
    kind = axis.spec.kind
    if kind == "model":
        choices.look_again()
        return ["None", *(choice.label for choice in choices.choices())]
    if kind == "sampler":
        return ["same", *(sampler.name for sampler in sd_samplers.visible_samplers())]
    return ["True", "False"] if kind == "flag" else list(axis.spec.choices)


def _confirm(axis: Axis, values: Sequence[Any]) -> None:
    """Names are looked up before the first cell runs.

    Raises:
        DiversityError: there are no values, or the host does not have one of them.
    """
    if not values:
        raise DiversityError(f"The axis '{axis.label}' has no values; choose some.")
    for value in values:
        if axis.spec.kind == "model" and value:
            choices.find_choice(value)
        elif axis.spec.kind == "sampler" and value != "same":
            sampler_unit(value)
