"""What a distilled model's name settles: sampler, steps and levels of the image that comes, or a refusal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from safetensors.torch import load_file, save_file

from tests.e2e.client import Pair, Reply, WebUI
from tests.e2e.test_forms import file_of, placed
from tests.e2e.test_infotext import parameters, pasted
from tests.matrices import marked_but

PLAN = "/diversity-distillation/v1/plan"
USERS = {"sampler_name": "DPM++ SDE", "scheduler": "Karras", "steps": 6}


@contextmanager
def named(webui: WebUI, pair: Pair, name: str) -> Iterator[str]:
    """The distilled model under another name, by which the host lists it."""
    file = file_of(webui, pair.distilled)
    with placed(webui, file.with_name(f"{name}.safetensors")) as path:
        path.hardlink_to(file)
        webui.call("/sdapi/v1/refresh-checkpoints", {})
        yield path.stem


def generated(webui: WebUI, pair: Pair, name: str, **options: object) -> Reply:
    with named(webui, pair, name) as stem:
        return webui.generate(pair.base, {"distilled_model": stem, **options}, **USERS)


KEPT = "Steps: 6, Sampler: DPM++ SDE, Schedule type: Karras"
LCM, TRAILING = "base 999 -> 759, ", "base 999 -> 749, "
# What each name settles of the image, and the first step of the plan if a family sets the levels.
SETTLED = {
    "ddXL_lightningDPMSDE": (KEPT, ""),
    "dd-hyper-realistic-v3": (KEPT, ""),
    "dd_dmd2_v1-step00001000": ("Steps: 6, Sampler: LCM", ""),
    "TCD-SDXL-LoRA": ("Steps: 6, Sampler: DDIM", ""),
    "Hyper-SDXL-1step-lora": ("Steps: 6, Sampler: DDIM", ""),
    "hyperSDXL8StepsLora_v1": ("Steps: 8, Sampler: DDIM", ""),
    "dmd2_sdxl_4step_lora": ("Steps: 4, Sampler: LCM, Schedule type: Automatic", LCM),
    "sdxl_lightning_4step_unet": ("Steps: 4, Sampler: Euler, Schedule type: Automatic", TRAILING),
    "ProteusV0.3-Lightning": ("Steps: 6, Sampler: Euler, Schedule type: Automatic", "base 999 -> 832, "),
    "SDXL-Flash": (KEPT, ""),
    "flash-sdxl": ("Steps: 6, Sampler: LCM", ""),
    "sd_xl_turbo_lora_v1": ("Steps: 6, Sampler: Euler a, Schedule type: Automatic", "base 999 -> 832, "),
    "sdxl_turbo_merge": (KEPT, ""),
}
FEW = (*list(SETTLED)[:6], "dmd2_sdxl_4step_lora", "SDXL-Flash", "ProteusV0.3-Lightning")


@pytest.mark.parametrize("name", marked_but(FEW, SETTLED, pytest.mark.slow))
def test_sampler_and_steps(webui: WebUI, pair: Pair, name: str) -> None:
    told, planned = SETTLED[name]
    infotext = generated(webui, pair, name).must_work().infotext
    assert told in infotext
    assert f'DD plan: "{planned}' in infotext


def test_what_predicts_the_clean_image_is_refused(webui: WebUI, pair: Pair) -> None:
    """By the plan, and whatever family is chosen by hand."""
    name = "sdxl_lightning_1step_x0"
    for family in ("auto", "custom", "lightning"):
        refused = generated(webui, pair, name, family=family)
        assert refused.status == 422
        assert (
            f"'{name}' is SDXL-Lightning's experiment for one step, which predicts the clean image" in refused.sentence
        )
    with named(webui, pair, name) as stem:
        status, told = webui.call(PLAN, {"args": [{"distilled_model": stem}], "request": {"steps": 4}})
    assert (status, told["detail"]) == (422, refused.sentence)


def test_dmd2_at_both_grids_and_back_from_the_infotext(webui: WebUI, pair: Pair) -> None:
    asked = {"distilled_model": pair.distilled, "family": "dmd2"}
    paper = webui.generate(pair.base, asked, steps=4).must_work()
    trained = webui.generate(pair.base, {**asked, "schedule": "trained"}, steps=4).must_work()
    assert "base 999 -> 759, distilled 759 -> 499 -> 259 -> 0" in paper.infotext
    assert "base 999 -> 749, distilled 749 -> 499 -> 249 -> 0" in trained.infotext
    assert not trained.same_as(paper)
    assert "DD schedule" not in paper.infotext
    for image in (paper, trained):
        assert image.same_as(pasted(webui, pair, parameters(image)).must_work())


@contextmanager
def student(webui: WebUI, pair: Pair, family: str, timesteps: str) -> Iterator[str]:
    """The distilled model as the trainer writes one, under a name that says something else."""
    file = file_of(webui, pair.distilled)
    told = {"diversity_distillation.family": family, "diversity_distillation.timesteps": timesteps}
    with placed(webui, file.with_name("dd_lightning_8step.safetensors")) as path:
        save_file(load_file(file), path, told)
        webui.call("/sdapi/v1/refresh-checkpoints", {})
        yield path.stem


def test_a_student_of_ours_is_sampled_at_its_own_timesteps(webui: WebUI, pair: Pair) -> None:
    with student(webui, pair, "dmd2", "999,749,499,249") as stem:
        own = webui.generate(pair.base, {"distilled_model": stem}, **USERS).must_work()
    asked = {"distilled_model": pair.distilled, "family": "dmd2", "schedule": "trained"}
    assert "Steps: 4, Sampler: LCM" in own.infotext
    assert "base 999 -> 749, distilled 749 -> 499 -> 249 -> 0" in own.infotext
    assert own.same_as(webui.generate(pair.base, asked, steps=4, sampler_name="LCM").must_work())
    for family, timesteps, planned in (
        ("lcm", "999,700,333", "base 999 -> 700, distilled 700 -> 333 -> 0"),
        ("pd", "999,899,499,99,9", "base 999 -> 899, distilled 899 -> 499 -> 99 -> 9 -> 0"),
    ):
        with student(webui, pair, family, timesteps) as stem:
            image = webui.generate(pair.base, {"distilled_model": stem}, **USERS).must_work()
            assert planned in image.infotext
            assert image.same_as(pasted(webui, pair, parameters(image)).must_work())
