"""Seed, variation seed, size of origin."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr
from modules import errors, infotext_utils, scripts, ui_common
from modules.infotext_utils import PasteField
from modules.ui_components import ToolButton


class ScriptSeed(scripts.ScriptBuiltinUI):
    section = "seed"
    create_group = False

    def title(self) -> str:
        return "Seed"

    def ui(self, is_img2img: bool) -> tuple[Any, ...]:
        ids = self.elem_id
        with gr.Row(elem_id=ids("seed_row")):
            seed = gr.Number(label="Seed", value=-1, elem_id=ids("seed"), min_width=100, precision=0)
            random_seed = ToolButton(
                ui_common.random_symbol, elem_id=ids("random_seed"), tooltip="Set seed to -1: a new one each time"
            )
            reuse_seed = ToolButton(
                ui_common.reuse_symbol, elem_id=ids("reuse_seed"), tooltip="Reuse seed from last generation"
            )
            checkbox = gr.Checkbox(label="Extra", elem_id=ids("subseed_show"), value=False)
        with gr.Group(visible=False, elem_id=ids("seed_extras")) as extras:
            with gr.Row(elem_id=ids("subseed_row")):
                subseed = gr.Number(label="Variation seed", value=-1, elem_id=ids("subseed"), precision=0)
                random_subseed = ToolButton(ui_common.random_symbol, elem_id=ids("random_subseed"))
                reuse_subseed = ToolButton(ui_common.reuse_symbol, elem_id=ids("reuse_subseed"))
                strength = gr.Slider(
                    label="Variation strength",
                    value=0.0,
                    minimum=0,
                    maximum=1,
                    step=0.01,
                    elem_id=ids("subseed_strength"),
                )
            with gr.Row(elem_id=ids("seed_resize_from_row")):
                from_w = self._size_slider("Resize seed from width", "seed_resize_from_w")
                from_h = self._size_slider("Resize seed from height", "seed_resize_from_h")
        random_seed.click(fn=lambda: -1, inputs=[], outputs=[seed], show_progress=False)
        random_subseed.click(fn=lambda: -1, inputs=[], outputs=[subseed], show_progress=False)
        checkbox.change(lambda x: gr.update(visible=x), show_progress=False, inputs=[checkbox], outputs=[extras])
        self.infotext_fields = [
            PasteField(seed, "Seed", api="seed"),
            PasteField(checkbox, lambda d: "Variation seed" in d or "Seed resize from-1" in d),
            PasteField(subseed, "Variation seed", api="subseed"),
            PasteField(strength, "Variation seed strength", api="subseed_strength"),
            PasteField(from_w, "Seed resize from-1", api="seed_resize_from_h"),
            PasteField(from_h, "Seed resize from-2", api="seed_resize_from_w"),
        ]
        info = f"generation_info_{self.tabname}"
        self.on_after_component(lambda x: connect_reuse_seed(seed, reuse_seed, x.component, False), elem_id=info)
        self.on_after_component(lambda x: connect_reuse_seed(subseed, reuse_subseed, x.component, True), elem_id=info)
        return seed, checkbox, subseed, strength, from_w, from_h

    def _size_slider(self, label: str, name: str) -> Any:
        return gr.Slider(minimum=0, maximum=2048, step=8, label=label, value=0, elem_id=self.elem_id(name))

    def setup(self, p: Any, *args: Any) -> None:
        p.seed, extra, subseed, strength, from_w, from_h = args
        if extra and strength > 0:
            p.subseed, p.subseed_strength = subseed, strength
        if extra and from_w > 0 and from_h > 0:
            p.seed_resize_from_w, p.seed_resize_from_h = from_w, from_h


def connect_reuse_seed(seed: Any, reuse_seed: Any, generation_info: Any, is_subseed: bool) -> None:
    """Makes the button copy the (variation) seed of the picture selected in the gallery."""

    def copy_seed(gen_info_string: str, index: Any) -> list[Any]:
        found = -1
        try:
            infotext = json.loads(gen_info_string)["infotexts"][max(int(index), 0)]
            params = infotext_utils.parse_generation_parameters(infotext, [])
            found = int(params.get("Variation seed" if is_subseed else "Seed", -1))
        except (ValueError, KeyError, IndexError, TypeError):
            if gen_info_string:
                errors.report(f"No seed is found in {gen_info_string}", exc_info=True)
        return [found, gr.update()]

    reuse_seed.click(
        fn=copy_seed,
        _js="(x, y) => [x, selected_gallery_index()]",
        show_progress=False,
        inputs=[generation_info, seed],
        outputs=[seed, seed],
    )
