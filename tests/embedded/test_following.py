"""What wakes the panel on the page."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.embedded.conftest import Host


def test_components_that_are_made_later_wake_it_too(host: Host, capsys: Any) -> None:
    """They are announced before their events take gradio 3's arguments on Forge."""
    import gradio as gr
    from modules import script_callbacks

    from extension_core.hosts.webui.following import _wake

    button, woken = SimpleNamespace(elem_id="the_button"), []

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
