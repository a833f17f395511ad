"""From an infotext back to the panel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from extension_core.errors import DiversityError
from extension_core.fields import Field, parse_value
from extension_core.options import BY_NAME, FIELDS, Options

_MARK = BY_NAME["mode"].infotext_key


def paste_fields(components: list[Any], find_model: Callable[[str], str]) -> list[tuple[Any, Callable[..., Any]]]:
    """(component, reader of the parsed infotext) for each option; `find_model` gives the dropdown's name of a model.

    A reader returns None where the infotext is not one of this extension: the host leaves the component as it is.
    """
    return [(component, _reader(spec, find_model)) for spec, component in zip(FIELDS, components, strict=True)]


def _reader(spec: Field, find_model: Callable[[str], str]) -> Callable[[Mapping[str, Any]], Any]:
    def read(parsed: Mapping[str, Any]) -> Any:
        if spec.kind == "flag":
            return _MARK in parsed
        if _MARK not in parsed:
            return None
        value = _value(spec, parsed)
        if spec.kind == "model":
            return find_model(value) if value else "None"
        return 0 if value is None else value

    return read


def _value(spec: Field, parsed: Mapping[str, Any]) -> Any:
    try:
        return parse_value(spec, parsed[spec.infotext_key])
    except (KeyError, DiversityError):
        return getattr(Options(), spec.name)
