"""The accordions, without a host."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from extension_core.options.hybrid import FIELDS, Options
from extension_core.options.positions import options_of_page
from extension_core.options.preview import PAGE_FIELDS, PreviewOptions
from extension_core.ui import panel, preview
from extension_core.ui.components import HostParts


class Accordion(gr.Checkbox):
    def __init__(self, value: bool, **kwargs: Any) -> None:
        super().__init__(value, **kwargs)
        self.inside = gr.Accordion(label=kwargs["label"])

    def __enter__(self) -> Accordion:
        self.inside.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.inside.__exit__(*error)

    def get_block_name(self) -> str:
        return "checkbox"


def built() -> tuple[list[Any], gr.Blocks]:
    parts = HostParts(Accordion, list, list, lambda *_: None, lambda name: f"script_{name}", lambda _: {})
    with gr.Blocks() as page:
        components = preview.build(parts, "img2img")
    return components, page


def test_one_component_for_each_argument_in_their_order() -> None:
    components, _ = built()
    assert [component.label for component in components] == [spec.label for spec in PAGE_FIELDS]
    ids = [f"script_dt_{spec.name}" for spec in PAGE_FIELDS]
    assert [component.elem_id for component in components] == ids
    values = {spec.name: one.value for spec, one in zip(PAGE_FIELDS, components, strict=True)}
    assert PreviewOptions.from_mapping(values) == PreviewOptions()


def test_the_pages_secret_is_sent_but_kept_in_no_settings() -> None:
    components, _ = built()
    page = components[-1]
    assert page.visible
    assert page.do_not_save_to_config
    assert not any(getattr(component, "do_not_save_to_config", False) for component in components[:-1])


def test_the_root_says_where_everything_is() -> None:
    _, page = built()
    root = next(block.value for block in page.blocks.values() if isinstance(block, gr.HTML))
    assert root == (
        '<div class="diversity-dt" data-tab="img2img" data-switch="script_dt_preview-checkbox" '
        'data-page="script_dt_page"></div>'
    )


def test_the_page_begins_with_the_options_defaults_but_for_the_roles() -> None:
    """An API that fills up its requests from the components gets what they meant before there was the option."""
    for is_page, loaded_is in ((True, "auto"), (False, "base")):
        parts = HostParts(Accordion, list, list, lambda *_: None, str, lambda _: {}, is_page)
        with gr.Blocks():
            components = panel.build(parts).components
        assert options_of_page([one.value for one in components]) == Options(loaded_is=loaded_is)


def test_warnings_stand_below_the_plans_words_and_levels_below_them() -> None:
    warnings = ["<b> is wrong; do that.", "And that."]
    shown = panel.plan_html(["Step 1", ""], "base 999", ["", "found"], "<table></table>", warnings)
    assert shown == (
        "<p class='diversity-words'>Step 1</p><p class='diversity-warning'>&lt;b&gt; is wrong; do that.</p>"
        "<p class='diversity-warning'>And that.</p><p class='diversity-line'>base 999</p>"
        "<p class='diversity-found'>found</p><table></table>"
    )


@pytest.mark.parametrize(
    ("saved", "is_page", "values"),
    [
        ({"Memory": "8bit", "Carry style: s": 0.5, "Carry style: origin": "origin"}, True, ("8bit", 0.5, "origin")),
        ({"Memory": "8bit", "Residency": "ram"}, True, ("auto", 1.0, "None")),
        ({"Memory": "moon", "Carry style: s": "much", "Carry style: origin": "gone"}, True, ("auto", 1.0, "None")),
        ({"Memory": "8bit"}, False, ("auto", 1.0, "None")),
    ],
)
def test_what_was_saved_under_an_earlier_label(
    saved: dict[str, Any], is_page: bool, values: tuple[str, float, str]
) -> None:
    """What is saved under the label of today the host itself restores; an API's values are not the page's."""
    models = lambda: ["origin"]  # noqa: E731
    parts = HostParts(Accordion, models, list, lambda *_: None, str, lambda _: {}, is_page, saved.get)
    with gr.Blocks():
        components = panel.build(parts).components
    starts = {spec.name: one.value for spec, one in zip(FIELDS, components, strict=True)}
    assert (starts["residency"], starts["carry_strength"], starts["carry_from"]) == values
