"""The WebUI under test: the one that DD_WEBUI_URL names, or the embedded one with random checkpoints.

A real host is expected to list checkpoints called NAME_base and NAME_distilled (and perhaps NAME_distilled_otherte,
with another text encoder, a LoRA NAME_lora, a textual inversion NAME_embedding and a ControlNet NAME_controlnet), and
to have tests/e2e/faults among its extensions.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.client import Pair, WebUI
from tests.e2e.embedded_host import running_embedded
from tests.e2e.turns import take_turns


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    take_turns(items, Path(__file__).parent)


@pytest.fixture(scope="session")
def webui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUI]:
    """A running host with the extension."""
    url = os.environ.get("DD_WEBUI_URL")
    if url:
        yield WebUI(url)
        return
    with running_embedded(tmp_path_factory.mktemp("webui")) as embedded:
        yield WebUI(embedded)


@pytest.fixture(scope="session")
def pairs(webui: WebUI) -> list[Pair]:
    """Every pair that the host has; DD_PAIRS (comma-separated) picks some.

    Copies of a pair with a yaml beside them (yaml_NAME_base) count only where they are picked: hosts load those on
    another, slower way.
    """
    names = {Path(model["filename"]).stem for model in webui.get("/sdapi/v1/sd-models")}
    loras = {lora["name"] for lora in webui.get("/sdapi/v1/loras")}
    inversions = {name for known in webui.get("/sdapi/v1/embeddings").values() for name in known}
    status, known_controls = webui.call("/controlnet/model_list")
    controls = known_controls["model_list"] if status == 200 else []
    picked = [name for name in os.environ.get("DD_PAIRS", "").split(",") if name]
    stems = sorted(name.removesuffix("_base") for name in names if name.endswith("_base"))
    found = []
    for stem in (stem for stem in stems if f"{stem}_distilled" in names):
        if stem in picked or not (picked or stem.startswith("yaml_")):
            wanted = ((f"{stem}_distilled_otherte", names), (f"{stem}_lora", loras), (f"{stem}_embedding", inversions))
            extras = (name if name in known else None for name, known in wanted)
            control = next((name for name in controls if name.startswith(f"{stem}_controlnet")), None)
            found.append(Pair(f"{stem}_base", f"{stem}_distilled", *extras, control))
    assert found, f"the host lists no NAME_base beside a NAME_distilled: {sorted(names)}"
    # The host's VAE encoder draws from torch's global generator, which the first image after the start leaves seeded.
    webui.generate(found[0].base).must_work()
    return found


@pytest.fixture(scope="session")
def pair(pairs: list[Pair]) -> Pair:
    """The pair with the most to it; for tests where one pair tells everything."""
    return max(pairs, key=lambda p: (p.lora is not None, p.other_text_encoder is not None, "15" in p.base))
