"""The README keeps up with the options, CONTRIBUTING with the files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from extension_core.options.fields import Field
from extension_core.options.hybrid import FIELDS, Options
from extension_core.options.preview import PREVIEW_FIELDS, PreviewOptions
from extension_core.sampling.families import FAMILIES

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EMPTY = {"": "none"}
NO_VALUE = {"same": "same as k", "auto": "auto"}  # by an option's word for it


@pytest.mark.parametrize("spec", FIELDS, ids=lambda spec: spec.name)
def test_every_option_has_its_line(spec: Field) -> None:
    row = re.search(rf"^\| ([^|]+) \| `{spec.name}` \| ([^|]+) \| ([^|]+) \|$", README, re.MULTILINE)
    assert row, f"README.md has no row for {spec.name}"
    label, default, meaning = (cell.strip() for cell in row.groups())
    value = getattr(Options(), spec.name)
    assert label == spec.label
    words = NO_VALUE[spec.empty] if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    assert default.strip("`") == EMPTY.get(value, words)
    assert all(f"`{choice}`" in meaning for choice in spec.choices)


@pytest.mark.parametrize("spec", [f for f in PREVIEW_FIELDS if f.name != "page"], ids=lambda spec: spec.name)
def test_every_option_of_the_preview_has_its_line(spec: Field) -> None:
    row = re.search(rf"^\| ([^|]+) \| `{spec.api_key}` \| ([^|]+) \| ([^|]+) \|$", README, re.MULTILINE)
    assert row, f"README.md has no row for {spec.api_key}"
    label, default, meaning = (cell.strip() for cell in row.groups())
    value = getattr(PreviewOptions(), spec.name)
    assert label == spec.label
    assert default.strip("`") == {(): "none", "": "none", None: "all"}.get(value, str(value))
    assert all(f"`{choice}`" in meaning for choice in spec.choices)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_named(name: str) -> None:
    table = README.split("What a family sets:")[1].split("###")[0]
    assert FAMILIES[name].label in table
    sampler = FAMILIES[name].sampler
    assert sampler is None or sampler in table


def test_every_link_inside_the_project_leads_somewhere() -> None:
    for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_contributing_names_what_is_there() -> None:
    spans = set(re.findall(r"`([^`\s]+)`", CONTRIBUTING))
    paths = {span for span in spans if re.fullmatch(r"[\w.-]+/[\w./-]*|[\w-]+\.(md|py|toml|css)", span)}
    assert len(paths) > 40
    assert {path for path in paths if not (ROOT / path).exists()} - {".envs/"} == set()
    assert len(CONTRIBUTING.splitlines()) <= 120


def test_contributing_says_of_each_name_where_it_stands() -> None:
    """`NAME` in `path`."""
    found = re.findall(r"`(\w+)`(?: \([^)]*\))? (?:of|in) `([\w./-]+\.py)`", CONTRIBUTING)
    assert len(found) > 10
    for name, path in found:
        defined = rf"^\s*(?:def |class )?{name}\b(?: =|:|\()"
        assert re.search(defined, (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), f"{path} has no {name}"
