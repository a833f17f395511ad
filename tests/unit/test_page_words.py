"""A refusal on the page names controls; the API's names of options stay in what clients get."""

from __future__ import annotations

import pytest

from extension_core.hosts.refusal import RequestRefused
from extension_core.options.hybrid import FIELDS
from extension_core.ui.page_words import page_words

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        (
            "switch_step of Diversity Distillation is 9 but this run has 4 steps; choose a switch step from 0 to 4.",
            "Switch step k is 9 but this run has 4 steps; choose a switch step from 0 to 4.",
        ),
        ("mode of Diversity Distillation is 'x'; it must be one of a, b.", "Mode is 'x'; it must be one of a, b."),
        (
            "Skip first with switch_step 4 would skip all 4 steps; choose a switch step from 0 to 3.",
            "Skip first with Switch step k 4 would skip all 4 steps; choose a switch step from 0 to 3.",
        ),
        (
            "No distilled model is chosen: distilled_model is empty; choose one.",
            "No distilled model is chosen: Distilled model is empty; choose one.",
        ),
        (
            "The distilled model 'switch_step.safetensors' is a LoRA; set carry_from to none.",
            "The distilled model 'switch_step.safetensors' is a LoRA; set Carry from to none.",
        ),
        ("distilled_model.safetensors cannot be read.", "distilled_model.safetensors cannot be read."),
        ("models/distilled_model-2/x cannot be read.", "models/distilled_model-2/x cannot be read."),
        ("The file's mode is right; the base's, too.", "The file's mode is right; the base's, too."),
    ],
)
def test_options_are_called_by_their_labels(sentence: str, shown: str) -> None:
    assert page_words(sentence) == shown


@pytest.mark.parametrize("spec", FIELDS, ids=lambda spec: spec.name)
def test_no_refused_value_shows_an_options_name_on_the_page(spec) -> None:
    sentence = f"{spec.name} of Diversity Distillation is 'x'; leave {spec.name} as it is."
    shown = page_words(sentence)
    assert shown.startswith(f"{spec.label} is 'x'")
    assert "_" not in shown


def test_the_page_gets_labels_and_the_api_the_names() -> None:
    refused = RequestRefused("switch_step of Diversity Distillation is 9.")
    assert refused.detail == "switch_step of Diversity Distillation is 9."
    assert f"{type(refused).__name__}: {refused}" == "Diversity Distillation: Switch step k is 9."
