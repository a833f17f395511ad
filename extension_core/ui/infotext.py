"""From an infotext back to the panel."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from extension_core.errors import DiversityError
from extension_core.fields import INFOTEXT_PREFIX, Field, infotext_found, parse_value
from extension_core.options import BY_NAME, FIELDS, Options
from extension_core.sampling.families import Detection
from extension_core.sampling.roles import roles_of
from extension_core.sampling.settled import Settled, to_run_again
from extension_core.session import HASH_KEY, RUN_AS_KEY, TOLD

_MARK = BY_NAME["mode"].infotext_key
_KNOWN_KEYS = {f"{INFOTEXT_PREFIX} {words}" for words in TOLD} | {spec.infotext_key for spec in FIELDS}
_VERSION = f"{INFOTEXT_PREFIX} version"


@dataclass(frozen=True)
class Pasting:
    """What a host knows of the models that an infotext names.

    Attributes:
        find_model: (name in the infotext, hash in the infotext or "") -> name in the drop-down.
        detected: name in the drop-down -> what `auto` makes of it, None if that cannot be told.
        problem: name in the drop-down -> why the image will not come out with it, "" if it will.
    """

    find_model: Callable[[str, str], str]
    detected: Callable[[str], Detection | None] = lambda _name: None
    problem: Callable[[str], str] = lambda _name: ""

    def options(self, parsed: Mapping[str, Any]) -> dict[str, Any]:
        """Every option's value of a parsed infotext of this extension."""
        values = {spec.name: _value(spec, parsed) for spec in FIELDS if spec.name != "enabled"}
        for name in ("distilled_model", "carry_from"):
            short_hash = str(infotext_found(parsed, HASH_KEY) or "") if name == "distilled_model" else ""
            values[name] = self.find_model(values[name], short_hash) if values[name] else ""
        return {**values, **self._to_run_again(values, parsed)}

    def _to_run_again(self, values: Mapping[str, Any], parsed: Mapping[str, Any]) -> dict[str, Any]:
        """What was left to `auto` and would be settled otherwise now: a file may have lost the name that told it."""
        then = Settled.read(str(infotext_found(parsed, RUN_AS_KEY) or ""))
        is_loaded = roles_of(values["loaded_is"]).turned
        few_step = str(infotext_found(parsed, "Model") or "") if is_loaded else values["distilled_model"]
        now = self.detected(few_step) if then and few_step else None
        if then is None or now is None:
            return {}
        steps = str(infotext_found(parsed, "Steps") or "")
        changed = to_run_again(then, now, int(steps) if steps.isdecimal() else None)
        return {name: value for name, value in changed.items() if values[name] == getattr(Options(), name)}

    def line(self, parsed: Mapping[str, Any], options: Mapping[str, Any]) -> str:
        """What is to be said of a paste, as HTML; "" for nothing."""
        said = [self.problem(options["distilled_model"])] if options["distilled_model"] else []
        if unknown := _unknown(parsed):
            version = str(parsed.get(_VERSION, "another version"))
            said.append(
                f"The infotext was written by version {version:.20} of this extension and holds "
                f"{', '.join(unknown[:3])}, which this one does not know, so the image may come out otherwise; update "
                "the extension."
            )
        shown = " ".join(filter(None, said))
        return f"<p class='diversity-problem'>{html.escape(shown)}</p>" if shown else ""


def paste_fields(
    components: list[Any], pasting: Pasting, pasted_line: Any = None
) -> list[tuple[Any, Callable[..., Any]]]:
    """(component, reader of the parsed infotext) for each option, and for the line that says what is wrong.

    A reader returns None where the infotext is not one of this extension: the host leaves the component as it is. Hosts
    call one after the other with the same parsed infotext, of which the models are looked up once.
    """
    known: list[tuple[Mapping[str, Any], dict[str, Any]]] = []

    def options(parsed: Mapping[str, Any]) -> dict[str, Any]:
        mine = next((values for of, values in known if of is parsed), None)
        if mine is None:
            mine = pasting.options(parsed)
            known[:] = [(parsed, mine)]
        return mine

    def reader(spec: Field) -> Callable[[Mapping[str, Any]], Any]:
        def read(parsed: Mapping[str, Any]) -> Any:
            if spec.name == "enabled":
                return _MARK in parsed
            return _shown(spec, options(parsed)[spec.name]) if _MARK in parsed else None

        return read

    fields = [(component, reader(spec)) for spec, component in zip(FIELDS, components, strict=True)]
    if pasted_line is not None:
        fields.append((pasted_line, lambda parsed: pasting.line(parsed, options(parsed)) if _MARK in parsed else ""))
    return fields


def _shown(spec: Field, value: Any) -> Any:
    """As the component holds it."""
    if spec.kind == "model":
        return value or "None"
    return 0 if value is None else value


def _value(spec: Field, parsed: Mapping[str, Any]) -> Any:
    """A choice that is not known here is kept, and refused by name: in its place another image would come out."""
    found = infotext_found(parsed, spec.infotext_key)
    try:
        return getattr(Options(), spec.name) if found is None else parse_value(spec, found)
    except DiversityError:
        return str(found) if spec.kind == "choice" else getattr(Options(), spec.name)


def _unknown(parsed: Mapping[str, Any]) -> list[str]:
    """Keys that this version does not write. A size is taken apart by the hosts, so those end in -1 and -2."""
    ours = {key.removesuffix("-1").removesuffix("-2") for key in parsed if key.startswith(f"{INFOTEXT_PREFIX} ")}
    return sorted(ours - _KNOWN_KEYS)
