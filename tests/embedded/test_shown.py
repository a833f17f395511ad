"""What the panel shows of the page's settings, as the server tells it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from extension_core.options.hybrid import FIELDS, Options
from extension_core.options.positions import Arguments
from tests.embedded.conftest import Host
from tests.embedded.previews import load_model
from tests.embedded.test_api_routes import the_host

SETTINGS = {"steps": 20, "sampler_name": "DPM++ 2M", "scheduler": "Karras", "cfg_scale": 7.0}


def shown(host: Any, settings: Mapping[str, Any] = MappingProxyType({}), **options: Any) -> tuple[str, str, Any]:
    """The base's line, the plan and what the page's JavaScript is told, of settings as the page sends them."""
    from extension_core.hosts.common.page.updates import Tab

    given = Options.from_mapping({"enabled": True, "distilled_model": "second", **options})
    values = [spec.as_shown(getattr(given, spec.name)) for spec in FIELDS]
    settings = {**SETTINGS, **settings}
    base, plan = Tab(host, False, "prefix_").shown(tuple(settings), *values, *settings.values())
    found = re.search(r'data-state="([^"]*)"', plan)
    assert found is not None
    texts = re.sub(r"<[^>]+>", " ", plan)
    return re.sub(r"<[^>]+>", "", base), html.unescape(re.sub(r"\s+", " ", texts)), json.loads(html.unescape(found[1]))


class Empty:
    """A host that has not loaded its checkpoint yet."""

    def __init__(self, host: Any) -> None:
        self._host = host

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def is_loaded(self) -> bool:
        return False

    def expected_placement(self, *_: Any) -> Any:
        raise AttributeError("there is no model to look at")

    noise = live_model = check_model = expected_placement


def test_a_plan_in_words_with_what_it_replaces(host: Host) -> None:
    load_model(host)
    base, plan, state = shown(the_host(), family="dmd2", base_cfg=3)
    assert base.startswith("Base base ")
    assert "Step 1 of 4: base; steps 2 to 4: second" in plan
    assert "Your 20 steps, DPM++ 2M Karras, CFG 7 are replaced by 4, LCM, 3 for the base and 1 for the" in plan
    assert state["line"] == "DMD2 · base 1 + distilled 3 · 4 calls (5 evaluations)"
    assert state["host"]["sampler"].startswith("LCM, 4 steps, CFG 3, then 1 by")
    assert state["tops"]["switch_step"] == 4
    assert not state["refused"]


def test_a_file_that_goes_while_the_plan_is_written_is_a_sentence(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is open follows its settings; the user may tidy the folder at any moment."""
    from extension_core.hosts.common.page import updates

    load_model(host)
    settle, gone = updates.settle, []

    def settled(*asked: Any) -> Any:
        found = settle(*asked)
        gone.append(found.path.rename(found.path.with_suffix(".away")))
        return found

    monkeypatch.setattr(updates, "settle", settled)
    try:
        _, plan, state = shown(the_host(), family="dmd2")
    finally:
        for path in gone:
            path.rename(path.with_suffix(".safetensors"))
    assert gone
    assert state["refused"]
    assert "'second.safetensors' is missing: no such file; choose another one." in plan


def test_before_the_checkpoint_is_loaded_who_makes_which_step_is_told(host: Host) -> None:
    load_model(host)
    _, plan, state = shown(Empty(the_host()), family="dmd2")
    assert "Step 1 of 4: base; steps 2 to 4: second" in plan
    assert "settled once the checkpoint is loaded" in plan
    assert state["line"] == "DMD2 · base 1 + distilled 3 · 4 calls"


def test_another_checkpoint_is_chosen_than_is_loaded(host: Host) -> None:
    """Forge loads it with the next image; until then the plan is of the chosen one, not of the old one."""
    load_model(host)
    chosen = {"sd_model_checkpoint": "second.safetensors"}
    _, plan, state = shown(the_host(), chosen, family="dmd2", distilled_model="base")
    assert "Step 1 of 4: second; steps 2 to 4: base" in plan
    assert "no effect" not in plan
    assert "settled once the checkpoint is loaded" in plan
    assert state["loaded"] == "second (not loaded)"
    _, plan, _ = shown(the_host(), chosen, family="dmd2")
    assert "switching has no effect" in plan


def test_before_it_a_hosts_own_levels_are_not_told_and_nothing_is_refused(host: Host) -> None:
    load_model(host)
    _, plan, state = shown(Empty(the_host()), family="custom")
    assert "The plan is shown once the checkpoint is loaded" in plan
    assert not state["refused"]
    assert state["line"] == ""


@pytest.mark.parametrize("enabled", [True, False])
def test_a_refusal_names_the_control(host: Host, enabled: bool) -> None:
    load_model(host)
    _, plan, state = shown(the_host(), enabled=enabled, family="dmd2", switch_step=9)
    assert ("Switch step k is 9 but this run has 4 steps" in plan) == enabled
    assert (state["refused"], state["ticked"]) == (enabled, enabled)
    assert state["line"].startswith("Switch step k is 9") == enabled
    assert "_" not in plan


def test_what_the_page_sends_is_what_a_request_is_made_of() -> None:
    values = [spec.as_shown(getattr(Options(), spec.name)) for spec in FIELDS]
    assert Arguments.read(values[:1]).options == Options()


def test_the_loaded_checkpoint_as_the_distilled_model_is_said_so(host: Host) -> None:
    load_model(host)
    base, plan, state = shown(the_host(), family="dmd2", loaded_is="distilled")
    assert base.startswith("Distilled base ")
    assert "Step 1 of 4: second; steps 2 to 4: base" in plan
    assert state["line"] == "DMD2 · base 1 + distilled 3 · 4 calls"
    _, _, state = shown(the_host(), family="dmd2", loaded_is="auto")
    assert state["found"]["loaded_is"] == "Auto: base"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, ""),
        ({"enabled": False}, "Tick Diversity Distillation to compare"),
        ({"mode": "base"}, "Choose another mode than base to compare"),
        ({"distilled_model": ""}, "No distilled model is chosen"),
        ({"switch_step": 9}, "Switch step k is 9"),
    ],
)
def test_what_compare_lacks_is_said_before_it_is_pressed(host: Host, options: dict[str, Any], why: str) -> None:
    load_model(host)
    said = shown(the_host(), **{"family": "dmd2", **options})[2]["compare"]
    assert said.startswith(why)
    assert bool(said) == bool(why)


@pytest.mark.parametrize(("settings", "images"), [({}, 4), ({"batch_size": 3}, 4), ({"batch_size": 3, "n_iter": 2}, 6)])
def test_what_try_it_would_make_is_said(host: Host, settings: dict[str, int], images: int) -> None:
    load_model(host)
    said = shown(the_host(), settings, family="dmd2")[2]["trial"]
    assert said.startswith(f"Makes {images} images by the base alone (20 steps")


def test_nothing_is_to_be_tried_of_what_cannot_run(host: Host) -> None:
    load_model(host)
    for options in ({"switch_step": 9}, {"distilled_model": ""}):
        assert shown(the_host(), family="dmd2", **options)[2]["trial"] == ""


def test_the_folder_of_the_images_is_told_unless_the_host_hides_it(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    from modules import shared

    load_model(host)
    monkeypatch.setitem(shared.opts.data, "outdir_samples", "")
    monkeypatch.setitem(shared.opts.data, "outdir_txt2img_samples", "some/where")
    assert shown(the_host(), family="dmd2")[2]["folder"] == "some/where"
    monkeypatch.setitem(shared.opts.data, "outdir_samples", "all/here")
    assert shown(the_host(), family="dmd2")[2]["folder"] == "all/here"
    monkeypatch.setattr(shared.cmd_opts, "hide_ui_dir_config", True, raising=False)
    assert shown(the_host(), family="dmd2")[2]["folder"] == ""


def test_a_page_is_told_its_own_settings(host: Host) -> None:
    """A change of them is heard of on the page alone, and not before there is one."""
    load_model(host)
    assert shown(the_host(), enabled=False)[2]["own"] == SETTINGS


def test_a_family_that_is_not_certain_is_asked_for(host: Host) -> None:
    load_model(host)
    _, _, state = shown(the_host())
    assert state["unsure"] == "Its family is not certain, so your own steps and sampler run."
    for options in ({"family": "dmd2"}, {"family": "custom"}, {"enabled": False}, {"mode": "base"}):
        assert shown(the_host(), **options)[2]["unsure"] == "", options
    _, _, state = shown(the_host(), loaded_is="distilled")
    assert state["unsure"].startswith("The loaded checkpoint's family is not certain")
    assert shown(Empty(the_host()))[2]["unsure"].startswith("Its family is not certain")


def test_the_page_is_told_what_the_list_of_files_is_for(host: Host) -> None:
    load_model(host)
    _, _, state = shown(the_host(), loaded_is="distilled")
    assert (state["loaded"], state["loaded_is"]) == ("base", "distilled")
    assert shown(Empty(the_host()))[2]["loaded"] == "base (not loaded)"
    assert shown(the_host(), family="dmd2", switch_step=9)[2]["loaded"] == "base"
