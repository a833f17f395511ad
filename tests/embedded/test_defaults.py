"""ui-config.json: what components start with, and what is not kept."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from tests.embedded.conftest import FLAVOUR, Host


def _page(**defaults: Any) -> tuple[gr.Blocks, dict[str, Any]]:
    values: dict[str, Any] = {"check": False, "text": "mine", "number": 3, "radio": "a", "slider": 2, **defaults}
    with gr.Blocks() as block:
        parts: dict[str, Any] = {
            "check": gr.Checkbox(values["check"], label="Check"),
            "text": gr.Textbox(values["text"], label="Text"),
            "number": gr.Number(values["number"], label="Number"),
            "radio": gr.Radio(["a", "b"], value=values["radio"], label="Radio"),
            "slider": gr.Slider(0, 9, value=values["slider"], step=1, label="Slider"),
            "hidden": gr.Textbox("secret", label="Key", visible=False),
            "excluded": gr.Textbox("never", label="Excluded"),
        }
    parts["check"].custom_script_source = "some_script.py"
    for name in ("hidden", "excluded"):
        parts[name].do_not_save_to_config = True
    return block, parts


@pytest.fixture
def file(host: Host, tmp_path: Path) -> Path:
    return tmp_path / "ui-config.json"


def _load(file: Path, block: gr.Blocks) -> Any:
    from modules.ui_loadsave import UiLoadsave

    loadsave = UiLoadsave(str(file))
    before = dict(loadsave.ui_settings)
    loadsave.add_block(block, "txt2img")
    if before != loadsave.ui_settings:
        loadsave.dump_defaults()
    return loadsave


def test_the_first_page_writes_every_default_but_what_is_not_to_be_kept(file: Path) -> None:
    _load(file, _page()[0])
    kept = json.loads(file.read_text())
    assert kept["customscript/some_script.py/txt2img/Check/value"] is False
    assert kept["txt2img/Text/value"] == "mine"
    assert kept["txt2img/Slider/maximum"] == 9
    assert kept["txt2img/Radio/visible"] is True
    assert not [path for path in kept if "Key" in path or "Excluded" in path]


def test_what_is_kept_wins_over_a_later_default(file: Path) -> None:
    _load(file, _page()[0])
    kept = json.loads(file.read_text())
    kept |= {"txt2img/Text/value": 5, "txt2img/Number/value": "7", "txt2img/Excluded/value": "from the file"}
    kept |= {"txt2img/Radio/value": "gone", "txt2img/Slider/value": 4}
    file.write_text(json.dumps(kept))
    block, parts = _page(text="new default", radio="b")
    _load(file, block)
    assert parts["text"].value == "5"
    assert parts["number"].value == 7.0
    assert parts["radio"].value == "b", "what is no choice any more is passed over"
    assert parts["slider"].value == 4
    assert parts["excluded"].value == "never"


def test_apply_keeps_what_the_page_shows(file: Path) -> None:
    block, _parts = _page()
    loadsave = _load(file, block)
    values = [x.value for x in loadsave.component_mapping.values()]
    assert loadsave.ui_apply(*values) == "No changes."
    place = list(loadsave.component_mapping).index("txt2img/Text/value")
    values[place] = "changed"
    assert "txt2img/Text/value" in loadsave.ui_view(*values)
    assert loadsave.ui_apply(*values) == "Wrote 1 changes."
    fresh, parts = _page()
    _load(file, fresh)
    assert parts["text"].value == "changed"


def test_a_broken_file_is_left_alone(file: Path) -> None:
    file.write_text("{broken")
    _load(file, _page()[0])
    assert file.read_text() == "{broken"


def test_accordions_with_a_checkbox_are_kept_by_a1111_alone(file: Path) -> None:
    from modules.ui_components import InputAccordion

    with gr.Blocks() as block, InputAccordion(True, label="Mine", elem_id="mine"):
        gr.Textbox("x", label="Inside")
    kept = _load(file, block).ui_settings
    assert ("txt2img/Mine/value" in kept) == (FLAVOUR == "a1111")
    assert kept["txt2img/Inside/value"] == "x"


def test_the_page_keeps_its_file_in_the_data_folder(host: Host) -> None:
    kept = json.loads((host.data / "ui-config.json").read_text())
    assert kept["txt2img/CFG Scale/value"] == 7.0
    assert "customscript/recorder.py/txt2img/Number/value" in kept
    assert not [path for path in kept if path.startswith("settings/")]


def test_results_of_the_last_tasks_can_be_had_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    from modules import progress

    monkeypatch.setattr(progress, "recorded_results", [])
    for n in range(3):
        progress.record_results(f"task({n})", (n, "", "", ""))
    assert progress.restore_progress("task(2)") == (2, "", "", "")
    assert "task(0)" in progress.restore_progress("task(0)")[3], "only the last two are kept"


def test_what_was_saved_for_our_panel_under_another_label(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modules import shared

    from extension_core.hosts.webui.saved_defaults import saved_by_label

    file = tmp_path / "ui-config.json"
    monkeypatch.setattr(shared.cmd_opts, "ui_config_file", str(file))
    script: Any = SimpleNamespace(filename="/anywhere/scripts/diversity_distillation.py")
    assert saved_by_label(script, "txt2img")("Memory") is None
    file.write_text(json.dumps({"customscript/diversity_distillation.py/img2img/Memory/value": "ram"}))
    assert saved_by_label(script, "img2img")("Memory") == "ram"
    assert saved_by_label(script, "txt2img")("Memory") is None
    for broken in ("[1]", "{", ""):
        file.write_text(broken)
        assert saved_by_label(script, "img2img")("Memory") is None
