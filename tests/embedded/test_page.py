"""The page's pieces."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from tests.embedded.conftest import Host

pytestmark = pytest.mark.a1111


def test_the_accordion_is_a_hidden_checkbox_beside_an_accordion(host: Host) -> None:
    from modules.ui_components import InputAccordion

    with gr.Blocks() as demo, InputAccordion(True, label="Mine", elem_id="mine") as accordion:
        gr.Textbox()
    assert isinstance(accordion, gr.Checkbox)
    assert accordion.value is True
    assert not accordion.visible
    assert accordion.elem_id == "mine-checkbox"
    assert accordion.accordion.elem_id == "mine"
    assert accordion.accordion.open
    assert any("inputAccordionChecked" in (x["js"] or "") for x in demo.dependencies)


def test_errors_become_a_red_line(host: Host) -> None:
    from modules.call_queue import wrap_gradio_gpu_call

    def fail(id_task: str) -> Any:
        raise ValueError("a <sentence>")

    *others, log = wrap_gradio_gpu_call(fail, extra_outputs=[None, "", ""])("task(x)")
    assert others == [None, "", ""]
    assert log.startswith("<div class='error'>ValueError: a &lt;sentence&gt;</div>")


def test_the_page_generates(host: Host) -> None:
    from modules import scripts
    from modules.call_queue import wrap_gradio_gpu_call
    from modules.txt2img import txt2img

    runner = scripts.scripts_txt2img
    arguments = [0, *(x.value for x in runner.inputs[1:])]
    sampler = next(x for x in runner.scripts if x.title() == "Sampler")
    arguments[sampler.args_from : sampler.args_to] = [3, "Euler", "Automatic"]
    hires = [
        False,
        0.7,
        2.0,
        "Latent",
        0,
        0,
        0,
        "Use same checkpoint",
        "Use same sampler",
        "Use same scheduler",
        "",
        "",
    ]
    inputs = ["a red cat", "bad", [], 1, 1, 5.0, 64, 64, *hires, []]
    gallery, info, html, log = wrap_gradio_gpu_call(txt2img)("task(y)", None, *inputs, *arguments)
    assert gallery[0].size == (64, 64)
    assert "Steps: 3, Sampler: Euler" in html
    assert "Time taken" in log
    assert '"prompt": "a red cat"' in info


def test_pasting_an_infotext_fills_the_fields(host: Host) -> None:
    from modules import infotext_utils

    text = "a cat\nSteps: 9, Sampler: Heun, CFG scale: 3, Seed: 5, Size: 96x64"
    text += ", Refiner: second [x], Refiner switch at: 0.4"
    params = infotext_utils.parse_generation_parameters(text)
    fields = infotext_utils.paste_fields["txt2img"]["fields"]
    updates = {
        field.component.elem_id: infotext_utils._field_update(*field, params).get("value")
        for field in fields
        if getattr(field.component, "elem_id", None)
    }
    assert updates["txt2img_prompt"] == "a cat"
    assert updates["txt2img_steps"] == 9
    assert updates["txt2img_sampling"] == "Heun"
    assert updates["txt2img_width"] == 96
    assert updates["txt2img_seed"] == 5
    assert updates["txt2img_enable-checkbox"] is True
    assert updates["txt2img_checkpoint"].startswith("second.safetensors")
    assert updates["txt2img_switch_at"] == 0.4


def test_scripts_and_styles_of_extensions_are_on_the_page(host: Host) -> None:
    from modules import ui_gradio_extensions

    html = ui_gradio_extensions.javascript_html()
    assert html.index("a_script.js") < html.index("inputAccordion.js")
    assert "style.css" in ui_gradio_extensions.css_html()
    [module] = [line for line in html.splitlines() if "recorder.mjs" in line]
    assert module.startswith('<script type="module" src="file=')
    assert html.index("submit.js") < html.index("recorder.mjs")


def test_tooltips_and_classes_are_added_to_components(host: Host) -> None:
    with gr.Blocks():
        slider = gr.Slider(label="x", tooltip="told")  # type: ignore[call-arg]
    assert slider.get_config()["webui_tooltip"] == "told"
    assert "gradio-slider" in slider.elem_classes


def test_settings_of_extensions_can_be_added(host: Host) -> None:
    from modules import shared

    shared.opts.add_option("recorder_setting", shared.OptionInfo(3, "Recorded", section=("recorder", "Recorder")))
    assert shared.opts.recorder_setting == 3
    assert host.post("options", recorder_setting=4).status == 200
    assert shared.opts.recorder_setting == 4
    del shared.opts.data_labels["recorder_setting"]


def test_interrupt_waits_for_the_picture_where_more_are_asked_for(host: Host) -> None:
    from modules import shared, ui_toprow

    shared.state.begin()
    shared.state.job_count = 1
    ui_toprow.interrupt_function()
    assert shared.state.interrupted
    shared.state.end()
    shared.state.begin()
