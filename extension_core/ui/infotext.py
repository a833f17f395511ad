"""From an infotext back to the panel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from extension_core.errors import DiversityError
from extension_core.fields import Field, infotext_found, parse_value
from extension_core.options import BY_NAME, FIELDS, Options
from extension_core.session import HASH_KEY

# (name in the infotext, hash in the infotext or "") -> name in the drop-down.
FindModel = Callable[[str, str], str]
_MARK = BY_NAME["mode"].infotext_key


def paste_fields(components: list[Any], find_model: FindModel) -> list[tuple[Any, Callable[..., Any]]]:
    """(component, reader of the parsed infotext) for each option.

    A reader returns None where the infotext is not one of this extension: the host leaves the component as it is.
    """
    return [(component, _reader(spec, find_model)) for spec, component in zip(FIELDS, components, strict=True)]


def _reader(spec: Field, find_model: FindModel) -> Callable[[Mapping[str, Any]], Any]:
    def read(parsed: Mapping[str, Any]) -> Any:
        if spec.name == "enabled":
            return _MARK in parsed
        if _MARK not in parsed:
            return None
        value = _value(spec, parsed)
        if spec.kind == "model":
            return find_model(value, _hash(spec, parsed)) if value else "None"
        return 0 if value is None else value

    return read


def _hash(spec: Field, parsed: Mapping[str, Any]) -> str:
    return str(infotext_found(parsed, HASH_KEY) or "") if spec.name == "distilled_model" else ""


def _value(spec: Field, parsed: Mapping[str, Any]) -> Any:
    found = infotext_found(parsed, spec.infotext_key)
    try:
        return getattr(Options(), spec.name) if found is None else parse_value(spec, found)
    except DiversityError:
        return getattr(Options(), spec.name)
