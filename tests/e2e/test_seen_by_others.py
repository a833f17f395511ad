"""What others see of the host while requests run: its settings as they were, over HTTP alone."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import Pair, WebUI
from tests.e2e.test_api import PREFIX, plan
from tests.e2e.test_equalities import settings

ROUNDS = int(os.environ.get("DD_POLLS", "2000")) // 20
SAVED = "grid_prevent_empty_spots"
# What a request's own override_settings change while it runs, on both hosts and without us.
REQUESTS: list[dict[str, Any]] = [
    {"base_cfg": 1, "distilled_cfg": 1},
    {"base_cfg": 1, "distilled_cfg": 3, "base_lora_factor": 0.5},
    {"base_cfg": 3, "distilled_cfg": 1, "lora_targets": "base"},
]


def request(pair: Pair, **options: Any) -> dict[str, Any]:
    """Without settings of its own: those would be the process's while it runs."""
    return {
        "prompt": f"a red cat <lora:{pair.lora}:1>",
        "seed": 1,
        "steps": 8,
        "width": 64,
        "height": 64,
        "sampler_name": "Euler",
        "alwayson_scripts": {"Diversity Distillation": {"args": [settings(pair, **options)]}},
    }


def strict(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in {text[:300]}")

    return json.loads(text, parse_constant=refuse)


@contextmanager
def kept_settings(webui: WebUI) -> Iterator[Path | None]:
    """The file that the host keeps its settings in, where it is on this machine."""
    status, flags = webui.call("/sdapi/v1/cmd-flags")  # Forge (dfdcbab6) fails at it where it was started with a port
    assert status == 200 or (webui.flavour == "forge" and "DD_WEBUI_URL" in os.environ)
    path = Path(flags["ui_settings_file"]) if status == 200 else None
    before = webui.get("/sdapi/v1/options")[SAVED]
    try:
        yield path if path and path.is_file() else None
    finally:
        webui.call("/sdapi/v1/options", {SAVED: before})


def test_settings_saves_and_reads_under_requests(webui: WebUI, pair: Pair) -> None:
    """Every read is what it was before, every save leaves a file of JSON with nothing but what was asked for."""
    webui.generate(pair.base).must_work()
    webui.call("/sdapi/v1/options", {"sd_model_checkpoint": pair.base})
    plain = webui.generate(pair.base)
    running = threading.Event()

    def generate() -> list[int]:
        try:
            return [
                webui.call("/sdapi/v1/txt2img", request(pair, **options))[0]
                for _ in range(max(ROUNDS // 30, 1))
                for options in REQUESTS
            ]
        finally:
            running.clear()

    with kept_settings(webui) as path, ThreadPoolExecutor(1) as pool:
        webui.call("/sdapi/v1/options", {SAVED: False})
        before = webui.get("/sdapi/v1/options")
        file_before = strict(path.read_text()) if path else {}
        running.set()
        made = pool.submit(generate)
        rounds = 0
        while running.is_set() or rounds < ROUNDS:
            rounds += 1
            value = bool(rounds % 2)
            assert webui.call("/sdapi/v1/options", {SAVED: value})[0] == 200
            assert webui.get("/sdapi/v1/options") == {**before, SAVED: value}
            if path:
                assert strict(path.read_text()) == {**file_before, SAVED: value}
        assert set(made.result()) == {200}
    assert webui.generate(pair.base).same_as(plain)


def test_questions_while_the_checkpoint_changes(webui: WebUI, pair: Pair) -> None:
    """Between two checkpoints a host has none for a moment: the plan is of one of them, or says that there is none."""
    webui.generate(pair.base).must_work()
    changing = threading.Event()
    changing.set()

    def change() -> None:
        try:
            for made in range(max(ROUNDS // 10, 4)):
                webui.generate((pair.distilled, pair.base)[made % 2]).must_work()
        finally:
            changing.clear()

    answers = []
    with ThreadPoolExecutor(1) as pool:
        changed = pool.submit(change)
        while changing.is_set():
            answers.append(plan(webui, settings(pair)))
            answers.append(webui.call(f"{PREFIX}/choices"))
        changed.result()
    wrong = [(status, str(told)[:300]) for status, told in answers if status not in (200, 409)]
    assert not wrong
    assert len(answers) > 10


@pytest.mark.a1111
@pytest.mark.parametrize("when", ["start=3", "stop=3"])
@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ 2M"])
def test_lora_block_weight_by_steps(webui: WebUI, pair: Pair, when: str, sampler: str) -> None:
    """The real extension, where the host has it: what it changes from step to step counts, times our factor."""
    title = "lora block weight"
    known = {script["name"] for script in webui.get("/sdapi/v1/script-info")}
    if title not in known:
        pytest.skip("the host has no LoRA Block Weight")

    def made(weight: float, factor: float, when: str) -> Any:
        chosen = settings(pair, mode="base", base_lora_factor=factor)
        prompt = f"a red cat <lora:{pair.lora}:{weight}:{weight}:{when}>"
        return webui.generate(pair.base, chosen, prompt=prompt, sampler_name=sampler, steps=8)

    ours, less = made(1, 0.5, when), made(0.5, 1, when)
    assert ours.same_as(less)
    assert not ours.same_as(made(1, 1, when))
    assert not ours.same_as(made(1, 0.5, "x=1"))
