"""The page."""
from __future__ import annotations
from typing import Any
import gradio as gr
from modules import scripts, infotext_utils
random_symbol = "\U0001f3b2\ufe0f"
reuse_symbol = "\u267b\ufe0f"

def create_ui() -> gr.Blocks:
    infotext_utils.reset()
    with gr.Blocks() as demo:
        for runner, img in ((scripts.scripts_txt2img, False), (scripts.scripts_img2img, True)):
            scripts.scripts_current = runner
            runner.initialize_scripts(is_img2img=img)
            runner.prepare_ui()
            for s in ("sampler", "seed", "accordions"):
                runner.setup_ui_for_section(s)
            runner.setup_ui()
            infotext_utils.add_paste_fields("img2img" if img else "txt2img", None, runner.infotext_fields)
    scripts.scripts_current = None
    return demo

def setup_ui_api(app: Any) -> None:
    return None
