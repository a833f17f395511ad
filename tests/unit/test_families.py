"""Telling a family from a file."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from extension_core.errors import DiversityError
from extension_core.options import Options
from extension_core.sampling.families import (
    FAMILIES,
    Detection,
    check_one_step,
    detect_family,
    distilled_twice,
    guidance_note,
    steps_for,
)
from extension_core.sampling.schedule import NoiseSchedule, family_levels

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks


@pytest.mark.parametrize(
    ("name", "family", "steps"),
    [
        ("dmd2_sdxl_4step_unet_fp16", "dmd2", 4),
        ("realvisXL_dmd2", "dmd2", None),
        ("sdxl_lightning_8step", "lightning", 8),
        ("juggernautXL_v9Rdphoto2Lightning", "lightning", None),
        ("sd_xl_turbo_1.0_fp16", "turbo", None),
        ("dreamshaperXL_v21TurboDPMSDE", "turbo", None),
        ("lcm-lora-sdv1-5", "lcm", None),
        ("Hyper-SDXL-8steps", "hyper", 8),
        ("Hyper-SDXL-1step-Unet-Comfyui.fp16", "hyper", 1),
        ("Hyper-SD15-12steps-CFG-lora", "hyper", 12),
        ("dmd2_sdxl_1step_unet_fp16", "dmd2", 1),
        ("sdxl_lightning_2step_lora", "lightning", 2),
        ("pcm_sd15_normalcfg_8step_converted", "pcm", 8),
        ("pcm_sdxl_lcmlike_lora_converted", "lcm", None),
        ("pytorch_lora_weights", "custom", None),
        ("lcm-sd/unet/diffusion_pytorch_model", "lcm", None),
        ("hyperrealistic_v3", "custom", None),
        ("v1-5-pruned-emaonly", "custom", None),
        ("admd_mix", "dmd2", None),
        ("monsters_distilled", "custom", None),
    ],
)
def test_file_names(name: str, family: str, steps: int | None) -> None:
    found = detect_family(name, {})
    assert (found.family.name, found.steps) == (family, steps)
    assert found.why


def test_metadata_speaks_where_the_name_does_not() -> None:
    found = detect_family("model", {"modelspec.title": "SDXL-Lightning 4 step"})
    assert (found.family.name, found.steps) == ("lightning", 4)
    assert "modelspec.title" in found.why


@pytest.mark.parametrize(
    "key", ["ss_output_name", "ss_training_comment", "modelspec.usage_hint", "modelspec.merged_from"]
)
def test_the_trainers_metadata_counts(key: str) -> None:
    found = detect_family("my_lora", {key: "DMD2, 4-step distillation", "ss_sd_model_name": "sdxl_lightning_8step"})
    assert (found.family.name, found.steps) == ("dmd2", 4)
    assert key in found.why


def test_the_model_a_lora_was_trained_on_is_not_its_family() -> None:
    assert detect_family("my_lora", {"ss_sd_model_name": "sdxl_lightning_8step"}).family.name == "custom"


@pytest.mark.parametrize(
    ("name", "grid", "first"),
    [
        ("dmd2_sdxl_1step_unet_fp16", "single_399", 399),
        ("dmd2_sdxl_4step_unet_fp16", "lcm", 999),
        ("dmd2_sdxl", "lcm", 999),
        ("Hyper-SD15-1step-lora", "single_800", 800),
        ("Hyper-SD15-2steps-lora", "trailing", 999),
        ("sd_turbo_1step", "trailing", 999),
    ],
)
def test_one_step_files_start_where_they_were_trained(name: str, grid: str, first: int) -> None:
    found = detect_family(name, {})
    assert found.grid == grid
    steps = steps_for(found, 20)
    levels = family_levels(found.grid, steps, NoiseSchedule.stable_diffusion(), "timestep")
    assert levels[0] == first
    assert len(levels) == steps + 1
    assert levels[-1] == 0


def test_a_one_step_grid_gives_as_many_levels_as_asked() -> None:
    """img2img may ask for more (the host's img2img_fix_steps)."""
    assert family_levels("single_399", 4, NoiseSchedule.stable_diffusion(), "timestep") == (999, 759, 499, 259, 0)


@pytest.mark.parametrize(
    ("values", "refused"),
    [({}, True), ({"switch_step": 0}, False), ({"mode": "distilled"}, False), ({"mode": "base"}, False)],
)
def test_a_one_step_file_leaves_no_step_to_the_base(values: dict[str, Any], refused: bool) -> None:
    options = Options.from_mapping({"distilled_model": "dmd2_1step", **values})
    expectation = pytest.raises(DiversityError, match="for one step") if refused else nullcontext()
    with expectation:
        check_one_step(detect_family("dmd2_1step", {}), options)
    check_one_step(detect_family("dmd2_4step", {}), options)


@pytest.mark.parametrize(
    ("base", "lora", "told"),
    [
        ("realvisXL_dmd2", "dmd2_sdxl_4step_lora", True),
        ("juggernautXL_v9Rdphoto2Lightning", "sdxl_lightning_4step_lora", True),
        ("realvisXL_dmd2", "sdxl_lightning_4step_lora", False),
        ("sd_xl_base_1.0", "dmd2_sdxl_4step_lora", False),
        ("sd_xl_base_1.0", "my_lora", False),
    ],
)
def test_the_same_distillation_twice_is_told(base: str, lora: str, told: bool) -> None:
    notes = distilled_twice(detect_family(base, {}), detect_family(lora, {}))
    assert bool(notes) == told
    assert not told or base in notes[0]


@pytest.mark.parametrize(
    ("name", "cfg", "told"),
    [
        ("Hyper-SDXL-8steps-CFG-lora", 1, True),
        ("Hyper-SDXL-8steps-CFG-lora", 6, False),
        ("Hyper-SDXL-8steps-lora", 1, False),
        ("pcm_sd15_normalcfg_8step", 1, True),
        ("pcm_sd15_smallcfg_8step", 1, False),
    ],
)
def test_files_that_keep_guidance_are_told(name: str, cfg: float, told: bool) -> None:
    options = Options.from_mapping({"distilled_model": name, "distilled_cfg": cfg})
    assert bool(guidance_note(detect_family(name, {}), options)) == told
    assert options.distilled_cfg == cfg


@pytest.mark.parametrize(
    ("family", "file_steps", "requested", "expected"),
    [
        ("dmd2", None, 20, 4),
        ("dmd2", None, 6, 6),
        ("lightning", 8, 20, 8),
        ("lightning", 8, 4, 8),
        ("custom", 8, 20, 20),
    ],
)
def test_steps(family: str, file_steps: int | None, requested: int, expected: int) -> None:
    assert steps_for(Detection(FAMILIES[family], file_steps, ""), requested) == expected
