"""What is warned of before a run: in the plan's JSON, and in the image's infotext where it comes out otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.e2e.client import Pair, WebUI
from tests.e2e.test_forms import file_of, lora_folder, placed
from tests.e2e.test_planning import plan
from tests.waiting import until

LIGHTNING, PLAIN, COPY = "ddwarned_xl_lightning_4step", "ddwarned_v1", "ddwarned_copy"
FEW_STEP_LORA, STYLE = "ddwarned_lcm_lora", "ddwarned_film_grain"


@pytest.fixture(scope="module", autouse=True)
def files(webui: WebUI, pair: Pair) -> Iterator[None]:
    """The pair's models, and its LoRA, under names that tell a family and under names that tell none."""
    folder, loras = file_of(webui, pair.base).parent, lora_folder(webui)
    checkpoints = {LIGHTNING: pair.distilled, PLAIN: pair.base}
    with ExitStack() as stack:
        for new, old in checkpoints.items():
            path = stack.enter_context(placed(webui, folder / f"{new}.safetensors"))
            save_file({**load_file(file_of(webui, old)), "ddmark": torch.zeros(1)}, path)
        copied = stack.enter_context(placed(webui, folder / f"{COPY}.safetensors"))
        copied.write_bytes(file_of(webui, pair.base).read_bytes())
        for new in (FEW_STEP_LORA, STYLE):
            path = stack.enter_context(placed(webui, loras / f"{new}.safetensors"))
            save_file({**load_file(loras / f"{pair.lora}.safetensors")}, path)
        webui.call("/sdapi/v1/refresh-checkpoints", {})
        webui.call("/sdapi/v1/refresh-loras", {})
        yield
        webui.generate(pair.base).must_work()


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "roles reversed": ({"distilled_model": PLAIN}, {"steps": 8}, "The roles look reversed"),
    "an ordinary checkpoint": ({"distilled_model": PLAIN}, {"steps": 20}, "is perhaps no few-step model"),
    "an ordinary LoRA": ({"distilled_model": f"LoRA: {STYLE}"}, {"steps": 20}, "is perhaps no few-step LoRA"),
    "a few-step LoRA in the prompt": (
        {"distilled_model": LIGHTNING},
        {"prompt": f"a cat <lora:{FEW_STEP_LORA}:1>"},
        f"The LoRA '{FEW_STEP_LORA}' in the prompt is LCM",
    ),
    "all by the base": ({"distilled_model": LIGHTNING, "switch_step": 4}, {}, "The base makes the whole first pass"),
    "distilled CFG": ({"distilled_model": LIGHTNING, "distilled_cfg": 3}, {}, "Distilled CFG is 3"),
    "a sliver of a base": ({"distilled_model": PLAIN, "family": "custom"}, {"steps": 20}, "5 % of the run"),
}


@pytest.mark.parametrize("case", CASES)
def test_in_the_plan_and_in_the_infotext(webui: WebUI, pair: Pair, case: str) -> None:
    asked, request, said = CASES[case]
    loaded = LIGHTNING if case == "roles reversed" else pair.base
    reply = webui.generate(loaded, asked, **{"negative_prompt": "", **request}).must_work()
    told = plan(webui, asked, **request)
    assert [sentence for sentence in told["warnings"] if said in sentence], told["warnings"]
    assert set(told["warnings"]) <= set(told["notes"])
    note = reply.infotext.partition("DD note: ")[2]
    assert all(sentence in note for sentence in told["warnings"])


def test_nothing_of_a_file_whose_family_is_told(webui: WebUI, pair: Pair) -> None:
    asked = {"distilled_model": LIGHTNING}
    reply = webui.generate(pair.base, asked, prompt=f"a cat <lora:{STYLE}:1>", negative_prompt="").must_work()
    assert "DD note" not in reply.infotext
    assert plan(webui, asked, prompt=f"a cat <lora:{STYLE}:1>")["warnings"] == []


def test_a_negative_prompt_without_effect_is_no_note_on_the_image(webui: WebUI, pair: Pair) -> None:
    asked = {"distilled_model": LIGHTNING}
    reply = webui.generate(pair.base, asked, negative_prompt="purple").must_work()
    assert reply.same_as(webui.generate(pair.base, asked, negative_prompt=""))
    assert "DD note" not in reply.infotext
    (told,) = plan(webui, asked, negative_prompt="purple")["warnings"]
    assert told.startswith("The negative prompt has no effect")
    with_guidance = {**asked, "base_cfg": 3}
    guided = webui.generate(pair.base, with_guidance, negative_prompt="purple").must_work()
    assert not guided.same_as(webui.generate(pair.base, with_guidance, negative_prompt=""))
    assert plan(webui, with_guidance, negative_prompt="purple")["warnings"] == []


def test_one_file_under_two_names(webui: WebUI, pair: Pair) -> None:
    """By its hash, once the host knows it: with the first image."""
    asked = {"distilled_model": COPY, "family": "custom"}
    reply = webui.generate(pair.base, asked, negative_prompt="").must_work()
    (told,) = plan(webui, asked)["warnings"]
    assert f"'{COPY}' is a copy of the loaded checkpoint '{pair.base}'" in told
    assert told in reply.infotext
    (by_itself,) = plan(webui, {"distilled_model": pair.base, "family": "custom"})["warnings"]
    assert by_itself.startswith(
        f"The distilled model '{pair.base}' is the loaded checkpoint itself, so switching has no"
    )


def test_the_list_of_files(webui: WebUI, pair: Pair) -> None:
    """Best first for the loaded checkpoint; every name may be sent."""
    webui.generate(pair.base).must_work()
    listed = offers(webui)
    assert (listed["checkpoint"], listed["part"], listed["none_found"]) == (pair.base, "distilled", "")
    entries = {entry["file"].removesuffix(".safetensors"): entry for entry in listed["choices"]}
    assert (entries[LIGHTNING]["fits"], entries[LIGHTNING]["family"], entries[LIGHTNING]["steps"]) == (
        True,
        "lightning",
        4,
    )
    assert entries[FEW_STEP_LORA]["kind"] == "lora"
    assert entries[FEW_STEP_LORA]["fits"]
    assert entries[pair.base]["reason"] == "it is the loaded checkpoint itself"
    names = [entry["name"] for entry in listed["choices"]]
    assert names.index(entries[LIGHTNING]["name"]) < names.index(entries[PLAIN]["name"])
    assert names.index(entries[PLAIN]["name"]) < names.index(entries[pair.base]["name"])
    known = {model["name"] for model in webui.get("/diversity-distillation/v1/models")}
    assert set(names) == known
    assert webui.call("/diversity-distillation/v1/plan", {"args": [{"distilled_model": names[0]}]})[0] == 200
    webui.generate(LIGHTNING).must_work()
    turned = offers(webui, "?loaded_is=auto")
    assert turned["part"] == "base"
    first = turned["choices"][0]
    assert (first["fits"], first["certain"], first["kind"] != "lora") == (True, False, True)
    for query, allowed in (("loaded_is=nobody", "auto, base, distilled"), ("checkpoint=mine", "loaded, chosen")):
        status, refused = webui.call(f"/diversity-distillation/v1/choices?{query}")
        assert status == 422
        assert allowed in refused["detail"]


def test_the_list_for_the_next_image(webui: WebUI, pair: Pair) -> None:
    """A request of its own checkpoint leaves that loaded; the next image of the page is made with the setting's."""
    before = webui.get("/sdapi/v1/options")["sd_model_checkpoint"]
    webui.call("/sdapi/v1/options", {"sd_model_checkpoint": pair.base})
    try:
        webui.generate(LIGHTNING).must_work()
        assert offers(webui)["checkpoint"] == LIGHTNING
        chosen = offers(webui, "?checkpoint=chosen")
        assert (chosen["checkpoint"], chosen["part"]) == (None, "distilled")
        reasons = {entry["file"].removesuffix(".safetensors"): entry["reason"] for entry in chosen["choices"]}
        assert reasons[pair.base] == "it is the loaded checkpoint itself"
        webui.generate(pair.base).must_work()
        assert offers(webui, "?checkpoint=chosen")["checkpoint"] == pair.base
    finally:
        webui.call("/sdapi/v1/options", {"sd_model_checkpoint": before})


def offers(webui: WebUI, query: str = "") -> dict[str, Any]:
    return until(lambda: _looked_at(webui.get(f"/diversity-distillation/v1/choices{query}")), "the files are looked at")


def _looked_at(told: dict[str, Any]) -> dict[str, Any]:
    """Nothing while files are left to be looked at."""
    return {} if told["pending"] else told
