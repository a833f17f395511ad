"""What a paste makes of an infotext whose file has another name by now, or that another version has written."""

from __future__ import annotations

import copy
import json
import pickle
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from extension_core.options.fields import INFOTEXT_PREFIX, infotext_value
from extension_core.options.hybrid import FIELDS, Options
from extension_core.options.positions import Arguments, in_positions
from extension_core.options.preview import PAGE_FIELDS, PreviewOptions
from extension_core.sampling.families import detect_family
from extension_core.sampling.session import INFOTEXT_KEYS
from extension_core.sampling.settled import Settled, to_run_again
from extension_core.ui.pasting import Pasting, paste_fields, sent_along

ROOT = Path(__file__).resolve().parents[2]
HYBRID = {"DD mode": "hybrid", "DD distilled model": "file"}


@pytest.mark.parametrize("text", ["custom", "dmd2 for 1 step", "hyper for 12 steps", "tcd"])
def test_what_is_written_is_read_back(text: str) -> None:
    read = Settled.read(text)
    assert read is not None
    assert str(read) == text


@pytest.mark.parametrize("text", ["", "a b", "dmd2 for steps", "dmd2 for 99999 steps", "dmd2 for 1 step, more"])
def test_what_nobody_has_written_is_nothing(text: str) -> None:
    assert Settled.read(text) is None


@pytest.mark.parametrize(
    ("then", "now", "steps", "options"),
    [
        ("dmd2 for 4 steps", "dmd2_4step", 4, {}),
        ("dmd2 for 4 steps", "plain", 4, {"family": "dmd2"}),
        ("dmd2", "plain", 6, {"family": "dmd2"}),
        ("dmd2 for 1 step", "plain", 1, {"family": "dmd2", "file_steps": 1}),
        ("dmd2 for 1 step", "dmd2_4step", 1, {"file_steps": 1}),
        ("hyper for 8 steps", "hyper_2steps", 8, {"file_steps": 8}),
        ("hyper", "hyper_2steps", 8, {"file_steps": 8}),
        ("hyper", "hyper_2steps", None, {}),
        ("custom", "lcm_4steps", 20, {"family": "custom"}),
        ("custom for 4 steps", "plain", 20, {}),
        ("tcd", "plain", 4, {"family": "tcd"}),
    ],
)
def test_what_auto_needs_to_run_a_file_as_it_ran(
    then: str, now: str, steps: int | None, options: dict[str, Any]
) -> None:
    settled = Settled.read(then)
    assert settled is not None
    assert to_run_again(settled, detect_family(now, {}), steps) == options


def pasted(parsed: dict[str, Any], name: str = "file", problem: str = "") -> dict[str, Any]:
    """What is put into the panel's components, and into the line below the plan."""
    pasting = Pasting(lambda _name, _hash: name, lambda label: detect_family(label, {}), lambda _label: problem)
    components = [SimpleNamespace(name=spec.name) for spec in FIELDS]
    line = SimpleNamespace(name="line")
    return {part.name: read(parsed) for part, read in paste_fields(components, pasting, line)}


def test_the_fields_of_both_tabs_have_one_name_for_each_option() -> None:
    """By it the hosts find on one tab what they send from the other: `name in paste_field_names`."""
    pasting = Pasting(lambda name, _hash: name)
    tabs = [paste_fields([object() for _ in FIELDS], pasting, object()) for _ in range(2)]
    sent = sent_along(tabs[0])
    assert [name in sent for _, name in tabs[1]] == [True] * len(FIELDS) + [False]
    assert [sent.index(name) for _, name in tabs[1][:-1]] == list(range(len(FIELDS)))
    assert "Prompt" not in sent
    assert len({name: 1 for fields in tabs for _, name in fields}) == len(FIELDS) + 1, "hosts keep them as keys"


def test_the_page_is_told_of_each_paste_what_the_host_puts_into_its_own_controls() -> None:
    pasting = Pasting(lambda name, _hash: name, host_settings=lambda parsed: {"steps": float(parsed["Steps"])})
    line = object()
    read = dict(paste_fields([object() for _ in FIELDS], pasting, line))[line]
    told = [read({**HYBRID, "Steps": "4"}) for _ in range(2)]
    assert all("&quot;set&quot;: {&quot;steps&quot;: 4.0}" in html for html in told)
    assert told[0] != told[1], "the same may be pasted twice"
    assert read({"Steps": "4"}) == ""


def test_what_the_infotext_says_stays() -> None:
    """What auto settled fills no option that was set."""
    told = {**HYBRID, "DD run as": "dmd2 for 1 step", "Steps": "1", "DD family": "lcm", "DD file steps": "3"}
    values = pasted(told)
    assert (values["family"], values["file_steps"], values["line"]) == ("lcm", 3, "")


def test_an_infotext_of_an_earlier_version_leaves_it_to_auto() -> None:
    values = pasted(HYBRID, "file")
    assert (values["family"], values["file_steps"]) == ("auto", 0)


def test_an_infotext_of_others_changes_nothing() -> None:
    values = pasted({"Steps": "4", "Sampler": "Euler"})
    assert values.pop("enabled") is False
    assert values.pop("line") == ""
    assert set(values.values()) == {None}


def test_models_are_looked_up_once_for_all_components() -> None:
    looked: list[str] = []
    pasting = Pasting(lambda name, _hash: looked.append(name) or name)
    parsed = {**HYBRID, "DD carry from": "origin"}
    for _component, read in paste_fields([SimpleNamespace() for _ in FIELDS], pasting, SimpleNamespace()):
        read(parsed)
    assert sorted(looked) == ["file", "origin"]


def test_the_line_says_what_a_paste_cannot_bring() -> None:
    line = pasted({**HYBRID, "DD version": "9.9.9", "DD newest": "3", "DD size-1": "2", "DD size-2": "2"})["line"]
    assert "written by version 9.9.9 of this extension and holds DD newest, DD size, which" in line
    assert "the model &lt;b&gt; is gone" in pasted(HYBRID, problem="the model <b> is gone")["line"]
    values = {spec.infotext_key: infotext_value(getattr(Options(), spec.name)) for spec in FIELDS}
    known = {f"DD {words}": "x" for words in INFOTEXT_KEYS} | values
    assert pasted({**known, **HYBRID})["line"] == ""


def test_values_that_cannot_be_read_are_told_with_the_keys_that_are_not_known() -> None:
    """In place of the first the default runs, so the image is another."""
    told = {**HYBRID, "DD switch step": "many", "DD base CFG": "-3", "DD newest": "3", "DD other": "x"}
    line = pasted(told)["line"]
    assert "holds DD newest, DD other, DD switch step &#x27;many&#x27; and 1 more, which" in line
    assert "written by another version of this extension" in line
    long = pasted({**HYBRID, "DD switch step": "9" * 50, "DD version": "1\x1b[31m" + "8" * 60})["line"]
    assert f"DD switch step &#x27;{'9' * 40}...&#x27;, which" in long
    assert f"by version 1?[31m{'8' * 34}... of" in long


def test_over_the_api_the_values_bring_what_is_not_known() -> None:
    """The hosts hand on what the readers return; laid over by a client's own, the rest still brings it."""
    from_infotext = pasted({**HYBRID, "DD newest": "3"})
    placed = in_positions(
        [from_infotext[spec.name] for spec in FIELDS], [getattr(PreviewOptions(), spec.name) for spec in PAGE_FIELDS]
    )
    read = Arguments.read(placed)
    assert "holds DD newest, which this one does not know" in read.note
    assert Arguments.read([True, "other", "lcm", "hybrid", *placed[4:]]).note == read.note
    assert all(type(value) in (str, int, float, bool, type(None)) for value in read.options.as_mapping().values())
    assert Arguments.read(json.loads(json.dumps(placed))) == replace(read, note="")
    assert Arguments.read(copy.deepcopy(placed)) == Arguments.read(pickle.loads(pickle.dumps(placed))) == read
    assert Arguments.read([{"distilled_model": "file"}, *placed[1:]]).note == ""
    known = pasted(HYBRID)
    assert {type(value) for value in known.values()} <= {str, int, float, bool, type(None)}


def test_every_key_that_is_written_is_known() -> None:
    """Those beside the options are written in several places."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "extension_core").rglob("*.py")]
    written = {words for text in sources for words in re.findall(r'f"\{INFOTEXT_PREFIX\} ([A-Za-z -]+)"', text)}
    assert written == set(INFOTEXT_KEYS)
    assert INFOTEXT_PREFIX == "DD"


def test_an_unknown_choice_is_kept_to_be_refused_and_an_unreadable_number_is_not() -> None:
    values = pasted({**HYBRID, "DD family": "newest", "DD switch step": "many"})
    assert (values["family"], values["switch_step"]) == ("newest", 1)
