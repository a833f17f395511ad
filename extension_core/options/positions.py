"""A script's arguments as the hosts pass them: one dict over the API, values by position from the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from extension_core.errors import DiversityError
from extension_core.options.hybrid import BY_NAME, FIELDS, Options
from extension_core.options.preview import PAGE_FIELDS, PreviewOptions

PREVIEW = "dt"
_PREVIEW_POSITION = f"{PREVIEW}."

# Frozen: the hosts lay API arguments over the script's components by position, so names are only ever appended.
POSITIONS: tuple[str, ...] = (
    "enabled",
    "distilled_model",
    "family",
    "mode",
    "switch_step",
    "base_steps",
    "base_cfg",
    "distilled_cfg",
    "base_sampler",
    "schedule",
    "text_encoder",
    "passes",
    "lora_strength",
    "lora_targets",
    "base_lora_factor",
    "distilled_lora_factor",
    "carry_from",
    "carry_strength",
    "residency",
    *(_PREVIEW_POSITION + name for name in ("preview", "every", "timesteps", "decoder", "save", "gallery", "page")),
    "grid_diversity",
    "file_steps",
    "loaded_is",
)


class Pasted(str):
    """A value out of an infotext, with what is to be said of the rest of it.

    Over the API the hosts read a request's infotext themselves and hand on what the components' readers return, as it
    is. What goes by way of a page comes back as plain text, and the page has a line of its own.

    Attributes:
        note: one sentence.
    """

    note: str

    def __new__(cls, text: str, note: str) -> Pasted:
        """A text that equals `text` in every way."""
        pasted = super().__new__(cls, text)
        pasted.note = note
        return pasted

    def __reduce__(self) -> Any:
        return Pasted, (str(self), self.note)


@dataclass(frozen=True)
class Arguments:
    """Everything that one request asks of the extension.

    Attributes:
        note: what is to be said of the infotext that they come from, "" for nothing.
    """

    options: Options
    preview: PreviewOptions
    note: str = ""

    def at(self, cell: Mapping[str, Any]) -> Arguments:
        """These with the values of a grid's axes; whoever sweeps an option wants it to act, so that enables.

        Raises:
            DiversityError: a value is not allowed.
        """
        if not cell:
            return self
        return replace(self, options=Options.from_mapping({**self.options.as_mapping(), "enabled": True, **cell}))

    @classmethod
    def read(cls, args: Sequence[Any]) -> Arguments:
        """Read a script's arguments: one dict first (API), or values by position (page).

        Over the API `dt` holds the preview's arguments; `true` is short for the preview alone.

        Raises:
            DiversityError: a key is unknown or a value is not allowed.
        """
        if args and isinstance(args[0], Mapping):
            return cls._from_mapping(cast("Mapping[str, Any]", args[0]))
        if len(args) > len(POSITIONS):
            raise DiversityError(
                f"Diversity Distillation takes at most {len(POSITIONS)} positional arguments but got {len(args)}; "
                "send one dict instead."
            )
        placed = dict(zip(POSITIONS, args, strict=False))
        preview = {
            name.removeprefix(_PREVIEW_POSITION): value
            for name, value in placed.items()
            if name.startswith(_PREVIEW_POSITION)
        }
        rest = {name: _from_page(name, value) for name, value in placed.items() if not name.startswith(PREVIEW + ".")}
        note = next((value.note for value in placed.values() if isinstance(value, Pasted)), "")
        return cls(Options.from_mapping(rest), PreviewOptions.from_mapping(preview), note)

    @classmethod
    def _from_mapping(cls, values: Mapping[str, Any]) -> Arguments:
        rest = {"enabled": True, **values}
        preview = rest.pop(PREVIEW, False)
        if isinstance(preview, Mapping):
            preview = {"preview": True, **cast("Mapping[str, Any]", preview)}
        elif isinstance(preview, bool):
            preview = {"preview": preview}
        else:
            raise DiversityError(
                f"{PREVIEW} of Diversity Distillation is {preview!r:.80}; it must be a dict of the preview's "
                "arguments, true or false."
            )
        return cls(Options.from_mapping(rest), PreviewOptions.from_mapping(preview))


def in_positions(options: Sequence[Any], preview: Sequence[Any]) -> list[Any]:
    """What belongs to each of `FIELDS` and of `PAGE_FIELDS`, in the order of the positions."""
    placed = {spec.name: item for spec, item in zip(FIELDS, options, strict=True)}
    placed |= {_PREVIEW_POSITION + spec.name: item for spec, item in zip(PAGE_FIELDS, preview, strict=True)}
    return [placed[name] for name in POSITIONS]


def options_of_page(values: Sequence[Any]) -> Options:
    """The page's components of `FIELDS` alone, in that order.

    Raises:
        DiversityError: a value is not allowed.
    """
    named = {spec.name: value for spec, value in zip(FIELDS, values, strict=True)}
    return Options.from_mapping({name: _from_page(name, value) for name, value in named.items()})


def _from_page(name: str, value: Any) -> Any:
    """A slider cannot be empty, so on the page 0 stands for no value."""
    return None if value == 0 and BY_NAME[name].kind == "whole_or_null" else value


assert set(POSITIONS) == {spec.name for spec in FIELDS} | {_PREVIEW_POSITION + spec.name for spec in PAGE_FIELDS}
