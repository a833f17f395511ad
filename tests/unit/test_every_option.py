"""Every option has everything that an option has; a new one without some of it fails here."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from extension_core.options.axes import AXES, PREFIX
from extension_core.options.fields import Field
from extension_core.options.hybrid import FIELDS, Options
from extension_core.options.positions import POSITIONS
from extension_core.options.schema import arguments_schema
from extension_core.sampling.plan import PassRequest, Plan
from extension_core.sampling.plan_pass import plan_pass
from extension_core.sampling.schedule import NoiseSchedule, family_levels
from extension_core.sampling.session import Session
from extension_core.ui.groups import names
from extension_core.ui.pasting import Pasting, paste_fields

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
SCHEDULE = NoiseSchedule.stable_diffusion()
LEVELS = family_levels("lcm", 4, SCHEDULE, "sigma")


def another(spec: Field) -> Any:
    """A value that is not the default."""
    default = getattr(Options(), spec.name)
    if spec.kind == "flag":
        return not default
    if spec.kind in ("model", "sampler"):
        return 'a, "b": ü/1'
    if spec.kind == "choice":
        return next(choice for choice in spec.choices if choice != default)
    return 2 if spec.kind.startswith("whole") else 1.2345678901


def infotext_of(options: Options) -> dict[str, str]:
    request = PassRequest("first pass", "LCM", "sigma", LEVELS, LEVELS, "sigma")
    plan = Plan((plan_pass(request, options, SCHEDULE),), SCHEDULE)
    return Session(options, plan, options.distilled_model).infotext()


@pytest.mark.parametrize("spec", FIELDS, ids=lambda spec: spec.name)
class TestEveryOption:
    def test_has_its_axis(self, spec: Field) -> None:
        assert [axis.spec for axis in AXES].count(spec) == 1

    def test_has_its_position_and_its_place_in_the_panel(self, spec: Field) -> None:
        assert POSITIONS.count(spec.name) == 1
        assert list(names()).count(spec.name) == (spec.name != "enabled")

    def test_has_one_name_on_panel_axis_and_in_the_infotext(self, spec: Field) -> None:
        """A letter may follow on the panel: `Switch step k`; and one name is a sentence's beginning there."""
        axis = next(axis for axis in AXES if axis.spec == spec)
        called = axis.label.removeprefix(f"{PREFIX} ")
        shown = spec.label.replace("checkpoint ", "")
        assert spec.name == "enabled" or re.fullmatch(rf"{re.escape(called)}( [kN])?", shown)
        assert spec.infotext_key.lower() == f"dd {called}".lower()

    def test_has_its_infotext_key_and_is_read_back(self, spec: Field) -> None:
        """`enabled` has none of its own: an infotext with any key of ours is one of an enabled request."""
        value = another(spec)
        told = infotext_of(Options(**{"enabled": True, spec.name: value}))
        components = [SimpleNamespace(name=known.name) for known in FIELDS]
        readers = {part.name: read for part, read in paste_fields(components, Pasting(lambda name, _hash: name))}
        if spec.name == "enabled":
            assert (readers["enabled"](told), readers["enabled"]({})) == (True, False)
            return
        assert spec.infotext_key in told
        assert readers[spec.name](told) == value
        assert sum(key == spec.infotext_key for key in infotext_of(Options(enabled=True))) == (spec.name == "mode")

    def test_has_its_schema_entry_and_its_tooltip(self, spec: Field) -> None:
        entry = arguments_schema()["properties"][spec.api_key]
        assert entry["description"] == spec.tooltip
        assert spec.tooltip.endswith(".")
        assert len(spec.tooltip.split()) > 4

    def test_has_its_line_in_the_readme(self, spec: Field) -> None:
        assert re.search(rf"^\| {re.escape(spec.label)} \| `{spec.api_key}` \|", README, re.MULTILINE)
