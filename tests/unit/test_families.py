"""Telling a family from a file."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from extension_core.errors import DiversityError
from extension_core.options.hybrid import Options
from extension_core.sampling.families import (
    FAMILIES,
    Detection,
    check_one_step,
    detect_family,
    distilled_twice,
    grid_for,
    guidance_note,
    steps_for,
)
from extension_core.sampling.schedule import NoiseSchedule, family_levels

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("modelspec.title", "SDXL-Lightning 4 step"),
        ("ss_output_name", "sdxl_lightning_4step_lora"),
        ("distillation", "SDXL-Lightning, 4 steps"),
        ("modelspec.tags", "photo, sdxl-lightning, people"),
    ],
)
def test_what_a_file_calls_itself_goes_before_its_name(key: str, value: str) -> None:
    found = detect_family("renamed_lcm_4step", {key: value, "ss_sd_model_name": "sdxl_turbo"})
    assert (found.family.name, found.steps) == ("lightning", 4)
    assert found.why == f"its metadata {key} says SDXL-Lightning"


@pytest.mark.parametrize(
    "key", ["modelspec.description", "modelspec.usage_hint", "modelspec.merged_from", "ss_training_comment"]
)
@pytest.mark.parametrize(
    "text", ["works with LCM, turbo and lightning", "DMD2, 4-step distillation", "lcm", "sdxl_lightning_4step_lora, x"]
)
def test_free_text_decides_nothing(key: str, text: str) -> None:
    assert detect_family("my_lora", {key: text}).family.name == "custom"
    assert detect_family("Hyper-SDXL-8steps-lora", {key: text}).family.name == "hyper"


def test_the_trainer_of_this_project_names_the_family_in_its_description() -> None:
    found = detect_family("monsters_distilled", {"modelspec.description": "DMD2 student, 4 steps, LCM sampler, CFG 1"})
    assert found.family.name == "dmd2"


@pytest.mark.parametrize(
    ("tags", "family"),
    [("lcm", "lcm"), ("LCM, dmd2", "custom"), ("lightning", "custom"), ("turbo, car", "custom"), ("hyper-sd", "hyper")],
)
def test_tags_tell_where_one_family_alone_is_named_beyond_doubt(tags: str, family: str) -> None:
    assert detect_family("my_lora", {"modelspec.tags": tags}).family.name == family


@pytest.mark.parametrize("name", ["lightning_v2-step00002500", "turbo", "Hyper_v3", "sdxl_lightning"])
def test_a_lora_that_was_taught_by_pictures_is_of_what_they_show(name: str) -> None:
    """kohya's trainer notes the captions; a method that a word alone may mean is not what such a LoRA is of."""
    assert detect_family(name, {}).family.name != "custom"
    assert detect_family(name, {"ss_tag_frequency": '{"10_bolt": {"lightning": 25}}'}).family.name == "custom"
    assert detect_family(name, {"ss_tag_frequency": "{}", "ss_output_name": name}).family.name != "custom"
    assert detect_family("my_lcm", {"ss_num_train_images": "300"}).family.name == "lcm"


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [("modelspec.architecture", "flux-1-dev/lora", "Flux"), ("ss_base_model_version", "sd3_medium", "SD 3")],
)
def test_other_kinds_of_models_have_no_family(key: str, value: str, kind: str) -> None:
    found = detect_family("lightning_8step_lora", {key: value})
    assert found.family.name == "custom"
    assert found.why == f"its metadata says {kind}, for which there is no family, so the host's settings are kept"
    assert detect_family("x_lcm", {key: "stable-diffusion-xl-v1-base/lora"}).family.name == "lcm"


@pytest.mark.parametrize("filler", ["a", "xl", "lcm ", "4", "sd,", "\x00", "É"])
def test_metadata_of_any_length_is_read(filler: str) -> None:
    """What is too long for a name is none, and costs nothing."""
    keys = ("modelspec.title", "modelspec.tags", "modelspec.architecture", "ss_output_name", "modelspec.description")
    found = detect_family("dmd2_4step", dict.fromkeys(keys, filler * 200_000))
    assert (found.family.name, found.steps) == ("dmd2", 4)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("dmd2_4step", "says DMD2"),
        ("flash-sdxl", "says Flash Diffusion, which is sampled like LCM"),
        ("juggernautXL_lightningDPMSDE", "says SDXL-Lightning for the sampler DPM++ SDE"),
        ("sdxl_hyper_lightning_8step", "says SDXL-Lightning and Hyper-SD at once"),
        ("Hyper-FLUX.1-dev-8steps-lora", "says Flux, for which there is no family"),
    ],
)
def test_the_reason_is_one_phrase(name: str, says: str) -> None:
    found = detect_family(name, {})
    kept = ", so the host's settings are kept" if found.family.name == "custom" else ""
    assert found.why == f"the file name '{name}' {says}{kept}"


def test_the_reason_where_nothing_is_said() -> None:
    why = "neither file name nor metadata names a family, so the host's settings are kept"
    assert detect_family("a_cat", {}).why == why


def test_the_model_a_lora_was_trained_on_is_not_its_family() -> None:
    assert detect_family("my_lora", {"ss_sd_model_name": "sdxl_lightning_8step"}).family.name == "custom"


@pytest.mark.parametrize(
    ("name", "grid", "first"),
    [
        ("dmd2_sdxl_1step_unet_fp16", "single_399", 399),
        ("dmd2_sdxl_4step_unet_fp16", "lcm", 999),
        ("dmd2_sdxl", "lcm", 999),
        ("Hyper-SDXL-1step-Unet", "single_800", 800),
        ("Hyper-SDXL-1step-lora", "lcm", 999),
        ("Hyper-SD15-2steps-lora", "trailing", 999),
        ("TCD-SDXL-LoRA", "lcm", 999),
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


@pytest.mark.parametrize(("requested", "steps"), [(1, 1), (2, 2), (8, 8), (20, 4)])
def test_hyper_sds_loras_for_one_step_are_for_one_to_eight(requested: int, steps: int) -> None:
    """ "Unified" on its model card: sampled by TCD's scheduler in as many steps as one likes."""
    found = detect_family("Hyper-SDXL-1step-lora", {})
    check_one_step(found, Options.from_mapping({"distilled_model": "Hyper-SDXL-1step-lora"}))
    assert steps_for(found, requested) == steps
    assert family_levels(found.grid, 4, NoiseSchedule.stable_diffusion(), "timestep") == (999, 759, 499, 259, 0)


@pytest.mark.parametrize("name", ["sdxl_lightning_1step_x0", "sdxl_lightning_1step_unet_x0"])
@pytest.mark.parametrize("values", [{}, {"mode": "distilled"}, {"mode": "skip_first"}, {"switch_step": 0}])
def test_what_predicts_the_clean_image_is_refused_wherever_it_would_run(name: str, values: dict[str, Any]) -> None:
    options = Options.from_mapping({"distilled_model": name, **values})
    with pytest.raises(DiversityError, match="predicts the clean image in place of the noise"):
        check_one_step(detect_family(name, {}), options)
    check_one_step(detect_family(name, {}), replace(options, mode="base"))
    check_one_step(detect_family("sdxl_lightning_2step_unet", {}), options)


@pytest.mark.parametrize(
    ("name", "schedule", "levels"),
    [
        ("dmd2_sdxl_4step_lora", "family", (999, 759, 499, 259, 0)),
        ("dmd2_sdxl_4step_lora", "trained", (999, 749, 499, 249, 0)),
        ("lcm-lora-sdxl", "trained", (999, 759, 499, 259, 0)),
        ("sdxl_lightning_4step", "trained", (999, 749, 499, 249, 0)),
        ("TCD-SDXL-LoRA", "trained", (999, 759, 499, 259, 0)),
    ],
)
def test_the_levels_of_the_training_where_they_are_others(name: str, schedule: str, levels: tuple[int, ...]) -> None:
    """DMD2's authors trained at 999, 749, 499, 249; the paper ran it at those of diffusers' LCMScheduler."""
    grid = grid_for(detect_family(name, {}), Options.from_mapping({"schedule": schedule}))
    assert family_levels(grid, 4, NoiseSchedule.stable_diffusion(), "timestep") == levels


@pytest.mark.parametrize(
    ("name", "schedule", "grid"),
    [
        ("dmd2_1step", "trained", "single_399"),
        ("dmd2_4step", "host", "host"),
        ("a_cat", "trained", "host"),
        ("a_cat", "family", "host"),
    ],
)
def test_where_there_is_no_other_grid(name: str, schedule: str, grid: str) -> None:
    assert grid_for(detect_family(name, {}), Options.from_mapping({"schedule": schedule})) == grid


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
        ("tcd", None, 20, 4),
        ("tcd", None, 8, 8),
    ],
)
def test_steps(family: str, file_steps: int | None, requested: int, expected: int) -> None:
    assert steps_for(Detection(FAMILIES[family], file_steps, ""), requested) == expected


STUDENT = {
    "diversity_distillation.family": "dmd2",
    "diversity_distillation.timesteps": "999,749,499,249",
    "ss_output_name": "my_lightning_8step",  # the name is the user's own
}


class TestStudentsOfTheTrainer:
    def test_the_file_says_everything_itself(self) -> None:
        found = detect_family("hyper_1step", STUDENT)
        assert (found.family.name, found.steps, found.suits) == ("dmd2", 4, (1, 8))
        levels = family_levels(grid_for(found, Options()), 4, NoiseSchedule.stable_diffusion(), "timestep")
        assert levels == (999, 749, 499, 249, 0)

    def test_another_step_count_is_the_familys(self) -> None:
        levels = family_levels(detect_family("a", STUDENT).grid, 2, NoiseSchedule.stable_diffusion(), "timestep")
        assert levels == (999, 499, 0)

    @pytest.mark.parametrize(
        "timesteps",
        ["", "999,", "999,999", "249,499", "1000,10", "999,-1", "999, 749", "9" * 5000, "None", "\u0669\u0669", "1e3"],
    )
    def test_what_is_no_list_of_timesteps_counts_for_nothing(self, timesteps: str) -> None:
        found = detect_family("some_dmd2_4step", STUDENT | {"diversity_distillation.timesteps": timesteps})
        assert found.own is None

    @pytest.mark.parametrize("family", ["", "custom", "none", "DMD2 "])
    def test_a_family_that_there_is_not_counts_for_nothing(self, family: str) -> None:
        assert detect_family("a", STUDENT | {"diversity_distillation.family": family}).own is None

    def test_a_student_of_one_step_leaves_the_base_none(self) -> None:
        found = detect_family("a", STUDENT | {"diversity_distillation.timesteps": "399"})
        assert steps_for(found, 20) == 1
        with pytest.raises(DiversityError, match="for one step, so switch_step 1 leaves it nothing"):
            check_one_step(found, Options(distilled_model="a"))

    def test_a_progressively_distilled_one_of_32_steps(self) -> None:
        steps = ",".join(str(1000 - 1000 * step // 32 - 1) for step in range(32))
        found = detect_family("a", {"diversity_distillation.family": "pd", "diversity_distillation.timesteps": steps})
        assert (found.family.sampler, steps_for(found, 20)) == ("DDIM", 32)
