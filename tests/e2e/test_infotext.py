"""What ran is in the infotext, and the infotext runs it again: through the picture's file and the host's own parser."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from extension_core.options.hybrid import BY_NAME, FIELDS, Options
from tests.e2e.client import NEUTRAL, Pair, Reply, WebUI

NUMBERS = {"base_cfg": 12, "distilled_cfg": 4, "base_lora_factor": 2, "distilled_lora_factor": 2, "carry_strength": 2,
           "lora_strength": 2}  # fmt: skip
OLD_TEXTS = Path(__file__).parent / "old_infotexts"


def options_of_a_request() -> st.SearchStrategy[dict[str, Any]]:
    """Everything but the models, small enough to run."""
    values: dict[str, st.SearchStrategy[Any]] = {
        name: st.floats(0, most, allow_subnormal=False) for name, most in NUMBERS.items()
    }
    values |= {spec.name: st.sampled_from(spec.choices) for spec in FIELDS if spec.kind == "choice"}
    values["family"] = st.sampled_from(["custom", "lcm", "lightning", "auto"])
    values["switch_step"] = st.integers(0, 4)
    values["base_steps"] = st.none() | st.integers(1, 3)
    values["base_sampler"] = st.sampled_from(["same", "Euler", "DPM++ 2M", "Heun", "DDIM"])
    values["grid_diversity"] = st.booleans()
    return st.fixed_dictionaries({}, optional=values)


def parameters(reply: Reply) -> str:
    """The infotext in the picture's own file, as it came over the API."""
    picture = Image.open(io.BytesIO(base64.b64decode(reply.body["images"][0])))
    return picture.info["parameters"]


def as_pasted(text: str) -> str:
    """An infotext without what was asked before: from the paste on, what ran is what is asked."""
    return re.sub(r'DD asked: (?:"[^"]*"|[^,]*), ', "", text)


def pasted(webui: WebUI, pair: Pair, text: str) -> Reply:
    """What the host makes of an infotext alone; to load its checkpoint, too, is a setting that is off by default.

    Forge fails where styles are left open (modules/api/api.py `get_field_value`, dfdcbab6).
    """
    overrides = {**NEUTRAL, "sd_model_checkpoint": pair.base}
    request = {"infotext": text, "override_settings": overrides, "styles": []}
    return webui.read(*webui.call("/sdapi/v1/txt2img", request))


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(options_of_a_request(), st.integers(0, 2**32 - 1))
def test_options_to_infotext_to_picture_and_back(webui: WebUI, pair: Pair, asked: dict[str, Any], seed: int) -> None:
    """Bit for bit the same image with the same infotext, of which every option was read back."""
    made = webui.generate(
        pair.base, {"distilled_model": pair.distilled, **asked}, seed=seed, prompt=f"a cat <lora:{pair.lora}:0.7>"
    )
    assume(made.status == 200)
    text = parameters(made)
    assert text == made.infotext
    again = pasted(webui, pair, text)
    assert again.same_as(made)
    assert again.infotext == as_pasted(text)


def test_every_option_that_is_set_has_its_key(webui: WebUI, pair: Pair) -> None:
    """By its own name, and no other has one."""
    others = {"family": "custom", "base_steps": 2, "base_sampler": "Heun", "schedule": "host", "mode": "skip_first",
              "text_encoder": "base", "passes": "both", "lora_targets": "base", "residency": "ram",
              "carry_from": pair.base, "switch_step": 2, "grid_diversity": True, "file_steps": 3,
              "loaded_is": "distilled", **dict.fromkeys(NUMBERS, 1.5)}  # fmt: skip
    assert {*others, "enabled", "distilled_model"} == set(BY_NAME)
    one_way = {"distilled_model": pair.distilled, **others, "carry_from": ""}  # a style is carried to a second model
    other_way = {"distilled_model": pair.distilled, **others, "loaded_is": "base"}
    made = "".join(webui.generate(pair.base, asked).must_work().infotext for asked in (one_way, other_way))
    missing = [name for name in others if f"{BY_NAME[name].infotext_key}: " not in made]
    assert not missing
    plain = webui.generate(pair.base, {"distilled_model": pair.distilled}).must_work()
    set_keys = [spec.name for spec in FIELDS if f"{spec.infotext_key}: " in plain.infotext]
    assert set_keys == ["distilled_model", "mode"]


def test_what_ran_is_told(webui: WebUI, pair: Pair) -> None:
    made = webui.generate(pair.base, {"distilled_model": pair.distilled, "family": "custom"}).must_work()
    hashes = {model["model_name"]: model["sha256"] for model in webui.get("/sdapi/v1/sd-models")}
    distilled = hashes[pair.distilled]
    for told in ("DD switch: sigma ", " timestep ", "DD U-Net calls: ", "DD plan: ", "DD version: ", "Model hash: "):
        assert told in made.infotext
    text = made.infotext.split("DD distilled model hash: ")[1].split(",")[0]
    assert len(text) == 10
    assert distilled is None or distilled.startswith(text)
    assert set(text) <= set("0123456789abcdef")


HOSTILE = {
    "commas and colons": 'a, b: c; "d" (e) [f] {g}',
    "unicode": "монстр ünï 怪物 🎨👹",
    "quotes": "\"quoted\" and 'single'",
    "all in quotes": '"quoted"',
    "like a size": "512x768",
    "like a key": "DD mode",
    "a backslash": "back\\slash",
    "spaces": "two  spaces",
    "a number": "12345",
    "ends in a comma": "comma,",
}


@contextmanager
def called(webui: WebUI, model: str, name: str, folder: str = "") -> Iterator[Path]:
    """The same checkpoint once more under another name."""
    files = {Path(m["filename"]).stem: Path(m["filename"]) for m in webui.get("/sdapi/v1/sd-models")}
    copy = files[model].parent / folder / f"{name}.safetensors"
    copy.parent.mkdir(exist_ok=True)
    try:
        os.link(files[model], copy)
    except OSError:
        shutil.copy(files[model], copy)
    try:
        webui.call("/sdapi/v1/refresh-checkpoints", {})
        yield copy
    finally:
        copy.unlink(missing_ok=True)
        if folder:
            copy.parent.rmdir()
        webui.call("/sdapi/v1/refresh-checkpoints", {})


@pytest.mark.parametrize("case", HOSTILE)
def test_names_survive(webui: WebUI, pair: Pair, case: str) -> None:
    """Through the host's quoting, the picture's file, the host's parser and the drop-down."""
    with called(webui, pair.distilled, HOSTILE[case]) as copy:
        made = webui.generate(pair.base, {"distilled_model": copy.stem, "family": "custom", "switch_step": 2})
        text = parameters(made.must_work())
        again = pasted(webui, pair, text)
        assert again.same_as(made)
        assert again.infotext == as_pasted(text)


def test_of_two_files_of_one_name_the_hash_tells_which(webui: WebUI, pair: Pair) -> None:
    with called(webui, pair.base, pair.distilled, "zz dd other") as copy:
        wanted = f"{copy.parent.name}/{copy.name}"
        made = webui.generate(pair.base, {"distilled_model": wanted, "family": "custom"}).must_work()
        other = webui.generate(pair.base, {"distilled_model": f"{pair.distilled}.safetensors", "family": "custom"})
        assert not made.same_as(other)
        assert pasted(webui, pair, parameters(made)).same_as(made)
        assert pasted(webui, pair, parameters(other)).same_as(other)


def test_a_renamed_file_is_found_by_its_hash(webui: WebUI, pair: Pair) -> None:
    made = webui.generate(pair.base, {"distilled_model": pair.distilled, "family": "custom"}).must_work()
    text = parameters(made)
    assert pair.distilled in text
    again = pasted(webui, pair, text.replace(pair.distilled, "gone since"))
    assert again.same_as(made)
    assert again.infotext == as_pasted(text)


def planned(text: str) -> str:
    """The plan that an infotext tells."""
    found = re.search(r'DD plan: "([^"]+)"', text)
    assert found, text
    return found[1]


@pytest.mark.parametrize("path", sorted(OLD_TEXTS.glob("*.txt")), ids=lambda path: path.stem)
def test_infotexts_of_earlier_versions_paste(webui: WebUI, pair: Pair, path: Path) -> None:
    """Each file: an infotext with BASE and DISTILLED in the models' places, an empty line, and the options in it."""
    told = path.read_text(encoding="utf-8").strip().replace("DISTILLED", pair.distilled)
    text, _, expected = told.replace("BASE", pair.base).rpartition("\n\n")
    wanted = dict(line.split("=", 1) for line in expected.splitlines())
    again = pasted(webui, pair, text).must_work()
    for name, value in wanted.items():
        assert f"{BY_NAME[name].infotext_key}: {value}" in again.infotext
    assert planned(again.infotext) == planned(text)
    request = {"prompt": "picture of a monster", "negative_prompt": "", "seed": 7}
    asked = Options.from_mapping({"enabled": True, **wanted}).as_mapping()
    assert webui.generate(pair.base, asked, sampler_name="LCM", **request).same_as(again)
