"""From an infotext back to the panel."""

from __future__ import annotations

import html
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from extension_core.errors import DiversityError, sayable
from extension_core.options.fields import INFOTEXT_PREFIX, Field, infotext_found, parse_value
from extension_core.options.hybrid import BY_NAME, FIELDS, Options
from extension_core.options.positions import Pasted
from extension_core.sampling.families import Detection
from extension_core.sampling.roles import roles_of
from extension_core.sampling.session import HASH_KEY, INFOTEXT_KEYS, RUN_AS_KEY
from extension_core.sampling.settled import Settled, to_run_again

_MARK = BY_NAME["mode"].infotext_key
_KNOWN_KEYS = {f"{INFOTEXT_PREFIX} {words}" for words in INFOTEXT_KEYS} | {spec.infotext_key for spec in FIELDS}
_VERSION = f"{INFOTEXT_PREFIX} version"
_MOST_NAMED = 3
_LONGEST_VALUE = 40


@dataclass(frozen=True)
class Pasting:
    """What a host knows of the models that an infotext names.

    Attributes:
        find_model: (name in the infotext, hash in the infotext or "") -> name in the drop-down.
        detected: name in the drop-down -> what `auto` makes of it, None if that cannot be told.
        problem: name in the drop-down -> why the image will not come out with it, "" if it will.
        host_settings: parsed infotext -> what the host puts into its own controls for it.
    """

    find_model: Callable[[str, str], str]
    detected: Callable[[str], Detection | None] = lambda _name: None
    problem: Callable[[str], str] = lambda _name: ""
    host_settings: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda _parsed: {}

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
        """What is to be said of a paste, as HTML, to the user and to the page's JavaScript; "" for nothing."""
        problem = self.problem(options["distilled_model"]) if options["distilled_model"] else ""
        shown = " ".join(filter(None, [problem, not_understood(parsed)]))
        said = f"<p class='diversity-problem'>{html.escape(shown)}</p>" if shown else ""
        host = self.host_settings(parsed)
        paste = html.escape(json.dumps({"id": secrets.token_hex(8), "set": host}))
        return f'{said}<span class="diversity-paste" data-paste="{paste}" hidden></span>' if host else said


def not_understood(parsed: Mapping[str, Any]) -> str:
    """A sentence on the keys and values of a parsed infotext that this version can make nothing of, "" for none."""
    unknown = [*_unknown(parsed), *_unread(parsed)]
    if not unknown:
        return ""
    of = f"version {_shortened(version)}" if (version := str(parsed.get(_VERSION, ""))) else "another version"
    named = ", ".join(unknown[:_MOST_NAMED])
    more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
    return sayable(
        f"The infotext was written by {of} of this extension and holds {named}{more}, which this one does not know, so "
        "the image may come out otherwise; update the extension."
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


@dataclass(frozen=True)
class Reader:
    """Reads one option of a parsed infotext.

    What sends a tab's settings to another one goes by the names of its fields (`paste_field_names` of the hosts,
    modules/infotext_utils.py `connect_paste_params_buttons`, 1.10.1), and to the hosts a reader is its field's name: so
    those of one option are equal, whichever tab they are of.
    """

    name: str
    read: Callable[[Mapping[str, Any]], Any] = field(compare=False)

    def __call__(self, parsed: Mapping[str, Any]) -> Any:
        return self.read(parsed)


def paste_fields(components: list[Any], pasting: Pasting, pasted_line: Any = None) -> list[tuple[Any, Reader]]:
    """(component, reader of the parsed infotext) for each option, and for the line that says what is wrong.

    A reader returns None where the infotext is not one of this extension: the host leaves the component as it is. Hosts
    call one after the other with the same parsed infotext, of which the models are looked up once. Over the API there
    is no line, so texts bring what it would say of the infotext (`Pasted`).
    """
    known: list[tuple[Mapping[str, Any], dict[str, Any]]] = []

    def options(parsed: Mapping[str, Any]) -> dict[str, Any]:
        mine = next((values for of, values in known if of is parsed), None)
        if mine is None:
            mine = pasting.options(parsed)
            known[:] = [(parsed, mine)]
        return mine

    def reader(spec: Field) -> Reader:
        def read(parsed: Mapping[str, Any]) -> Any:
            if spec.name == "enabled":
                return _MARK in parsed
            if _MARK not in parsed:
                return None
            value = spec.as_shown(options(parsed)[spec.name])
            return Pasted(value, note) if isinstance(value, str) and (note := not_understood(parsed)) else value

        return Reader(spec.infotext_key, read)

    fields = [(component, reader(spec)) for spec, component in zip(FIELDS, components, strict=True)]
    if pasted_line is not None:
        line = Reader("", lambda parsed: pasting.line(parsed, options(parsed)) if _MARK in parsed else "")
        fields.append((pasted_line, line))
    return fields


def sent_along(fields: list[tuple[Any, Reader]]) -> list[Reader]:
    """The names of the fields that another tab takes over with a picture: all options, not what was said of a paste."""
    return [reader for _, reader in fields if reader.name]


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


def _unread(parsed: Mapping[str, Any]) -> list[str]:
    """Values in whose place the default runs, as this version would not take them; choices are refused by name."""
    found = ((spec, infotext_found(parsed, spec.infotext_key)) for spec in FIELDS if spec.kind != "choice")
    return [
        f"{spec.infotext_key} {_shortened(str(value))!r}"
        for spec, value in found
        if value is not None and not _is_read(spec, value)
    ]


def _is_read(spec: Field, value: Any) -> bool:
    try:
        parse_value(spec, value)
    except DiversityError:
        return False
    return True
