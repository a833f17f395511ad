"""Faults that public reports led to, each with the value that is right."""

from __future__ import annotations

import pytest

from tests.e2e.client import Pair, WebUI
from tests.e2e.test_equalities import settings
from tests.e2e.test_field_cases import HIRES


@pytest.mark.parametrize(("passes", "steps"), [("first", {"hr_second_pass_steps": 1}), ("hires", {"steps": 1})])
def test_a_pass_of_the_distilled_model_alone_may_be_shorter(
    webui: WebUI, pair: Pair, passes: str, steps: dict[str, int]
) -> None:
    request = {**HIRES, "steps": 4, "hr_second_pass_steps": 4, **steps}
    reply = webui.generate(pair.base, settings(pair, switch_step=2, passes=passes), **request).must_work()
    assert 'DD U-Net calls: "base 2, distilled 3"' in reply.infotext


def test_a_run_that_leaves_the_distilled_model_nothing_is_told(webui: WebUI, pair: Pair) -> None:
    reply = webui.generate(pair.base, {"distilled_model": pair.distilled, "family": "turbo"}, steps=1)
    assert reply.status == 422 or "DD note: " in reply.infotext


def test_the_distilled_lora_in_the_prompt_is_told(webui: WebUI, pair: Pair) -> None:
    ours = {"distilled_model": f"LoRA: {pair.lora}", "family": "lcm"}
    reply = webui.generate(pair.base, ours, prompt=f"a cat <lora:{pair.lora}:1>")
    assert reply.status == 422 or "DD note: " in reply.infotext
