"""What wakes the panel on the page."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.embedded.conftest import Host


def test_components_that_are_made_later_wake_it_too(host: Host, capsys: Any) -> None:
    """They are announced before their events take gradio 3's arguments on Forge."""
    import gradio as gr
    from modules import script_callbacks

    from extension_core.hosts.common.page.host_components import _wake

    button: Any = SimpleNamespace(elem_id="the_button")
    woken: list[Any] = []

    def listen(component: Any, **kwargs: Any) -> None:
        if kwargs.get("elem_id") == "announced":
            _wake(component.change, button)
            woken.append(component)

    script_callbacks.on_after_component(listen)
    try:
        with gr.Blocks() as demo:
            known = gr.Textbox()
            gr.Textbox(elem_id="announced")
            _wake(known.change, button)
    finally:
        script_callbacks.remove_callbacks_for_function(listen)
    assert len(woken) == 1
    assert sum("the_button" in str(event["js"]) for event in demo.get_config_file()["dependencies"]) == 2


def test_a_press_while_an_answer_is_awaited_is_not_dropped(host: Host) -> None:
    """gradio 4 sends the last of them afterwards where it is told to; with gradio 3 the page waits."""
    import gradio as gr

    from extension_core.hosts.common.page.host_components import PageMemory, _ask

    with gr.Blocks() as demo:
        _ask(gr.Button().click, lambda *_: ("",), [gr.State(PageMemory())], [gr.HTML()])
    [event] = demo.get_config_file()["dependencies"]
    assert event.get("trigger_mode") == ("always_last" if int(gr.__version__.split(".")[0]) >= 4 else None)
