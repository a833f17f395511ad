"""What settings are warned of before they run, each case by itself; and that ordinary ones are not."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from extension_core.options.hybrid import BY_NAME, Options
from extension_core.sampling.families import FAMILIES, Detection, detect_family, steps_for
from extension_core.sampling.plan import PassRequest, Plan
from extension_core.sampling.plan_pass import plan_pass
from extension_core.sampling.roles import Roles, Side, tells_no_few_steps
from extension_core.sampling.routing import Phase
from extension_core.sampling.schedule import NoiseSchedule, family_levels
from extension_core.sampling.warnings import Situation, warnings_on

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

SCHEDULE = NoiseSchedule.stable_diffusion()
BASE, LIGHTNING = "sd_xl_base_1.0", "juggernautXL_v9Rdphoto2Lightning"
with (Path(__file__).parent / "family_names.tsv").open(encoding="utf-8", newline="") as table:
    ROWS = list(csv.DictReader(table, delimiter="\t"))


def side(name: str, is_lora: bool = False) -> Side:
    return Side(name, detect_family(name, {}), is_lora)


def situation(distilled: Side, steps: int = 20, base: str = BASE, **asked: Any) -> Situation:
    """Of a txt2img request whose steps the family has settled."""
    more = {name: asked.pop(name) for name in ("roles", "same", "in_prompt", "negative_prompt") if name in asked}
    options = Options.from_mapping({"distilled_model": distilled.name, **asked})
    detection = distilled.detection
    if options.family != "auto":
        detection = replace(detection, family=FAMILIES[options.family])
    levels = family_levels("trailing", steps_for(detection, steps), SCHEDULE, "sigma")
    request = PassRequest("first pass", "Euler", "sigma", levels, levels, "sigma")
    plan = Plan((plan_pass(request, options, SCHEDULE),), SCHEDULE)
    return Situation(options, plan, detection, side(base), distilled, **more)


def said(*args: Any, **kwargs: Any) -> list[str]:
    return [caution.sentence for caution in warnings_on(situation(*args, **kwargs))]


def only(*args: Any, **kwargs: Any) -> str:
    (sentence,) = said(*args, **kwargs)
    return sentence


def has_a_remedy(sentence: str) -> bool:
    words_of_the_api = [name for name in BY_NAME if "_" in name]
    return sentence.endswith(".") and ";" in sentence and not any(word in sentence for word in words_of_the_api)


class TestNothingToSay:
    @pytest.mark.parametrize("k", [0, 1, 2])
    @pytest.mark.parametrize("name", ["dmd2_sdxl_4step_unet", "sdxl_lightning_8step_unet", "Hyper-SDXL-8steps-lora"])
    def test_of_a_family_that_is_known(self, name: str, k: int) -> None:
        assert said(side(name), switch_step=k) == []

    def test_of_an_unknown_file_at_few_steps(self) -> None:
        assert said(side("my_merge_v3"), steps=8) == []

    def test_of_a_family_that_the_user_named(self) -> None:
        assert said(side("my_merge_v3"), family="lightning") == []
        assert said(side("my_merge_v3"), base=LIGHTNING, family="dmd2", base_cfg=1, mode="distilled") == []

    def test_of_the_base_alone(self) -> None:
        assert said(side("my_merge_v3"), mode="base", base=LIGHTNING) == []

    def test_of_any_name_whose_family_is_told(self) -> None:
        """As checkpoint and as LoRA; what is said of the others must not be that they are ordinary ones."""
        for name, is_lora in ((row["name"], is_lora) for row in ROWS for is_lora in (False, True)):
            chosen = side(name, is_lora)
            sentences = said(chosen, switch_step=0 if chosen.detection.steps == 1 else 1)
            assert chosen.detection.family.sampler is None or sentences == [], name
            assert not any("reversed" in sentence for sentence in sentences), name
            assert all(has_a_remedy(sentence) for sentence in sentences), name

    def test_no_few_step_file_is_taken_for_an_ordinary_one(self) -> None:
        assert [
            row["name"] for row in ROWS if row["family"] != "custom" and tells_no_few_steps(side(row["name"]))
        ] == []


class TestSameFile:
    def test_is_told_alone(self) -> None:
        sentence = only(side(BASE), steps=8, same="is the loaded checkpoint itself", family="custom")
        assert sentence == (
            f"The distilled model '{BASE}' is the loaded checkpoint itself, so switching has no effect; choose another "
            "file."
        )

    def test_hides_what_would_follow_from_it(self) -> None:
        assert len(said(side(LIGHTNING), base=LIGHTNING, same="is the loaded checkpoint itself")) == 1


class TestRoles:
    def test_reversed(self) -> None:
        sentence = said(side(BASE), base=LIGHTNING)[0]
        assert sentence.startswith(
            f"The roles look reversed: '{LIGHTNING}' makes the base's steps and is SDXL-Lightnin"
        )
        assert sentence.endswith(f"set Loaded checkpoint is to distilled, or load '{BASE}' and choose '{LIGHTNING}'.")

    def test_reversed_by_the_option(self) -> None:
        """A few-step file beside an ordinary checkpoint that is said to be the distilled one."""
        roles = Roles(loaded=Phase.DISTILLED)
        sentence = said(side(BASE), base=LIGHTNING, roles=roles, loaded_is="distilled")[0]
        assert sentence.endswith(f"set Loaded checkpoint is to base, or load '{LIGHTNING}' and choose '{BASE}'.")

    def test_turned_round_is_right(self) -> None:
        assert said(side(LIGHTNING), base=BASE, roles=Roles(Phase.DISTILLED), loaded_is="distilled") == []

    @pytest.mark.parametrize(
        "name", ["ProteusV0.4-Lighting", "dreamshaperXL_v2TurboDpmppSDE", "SDXL-Flash", "x_8steps"]
    )
    def test_a_file_that_may_be_few_step_is_not_said_to_be_ordinary(self, name: str) -> None:
        assert not any("reversed" in sentence for sentence in said(side(name), base=LIGHTNING))

    def test_a_lora_has_no_roles(self) -> None:
        assert not any("reversed" in sentence for sentence in said(side("style", is_lora=True), base=LIGHTNING))

    def test_every_loaded_checkpoint_whose_family_is_told(self) -> None:
        for name in (row["name"] for row in ROWS):
            told = side(name).detection.family.sampler is not None
            assert any("reversed" in sentence for sentence in said(side(BASE), base=name)) == told, name


class TestOrdinary:
    def test_lora(self) -> None:
        sentence = said(side("film_grain", is_lora=True))[0]
        assert "'film_grain' is perhaps no few-step LoRA (neither file name nor metadata names a family" in sentence
        assert "runs your 20 steps at CFG 1; choose a few-step file, or say under Family what it is." in sentence

    def test_checkpoint(self) -> None:
        assert "'dreamshaper_8' is perhaps no few-step model" in said(side("dreamshaper_8"), distilled_cfg=3)[0]

    def test_is_the_users_business_where_they_say_custom(self) -> None:
        assert not any("perhaps" in sentence for sentence in said(side("dreamshaper_8"), family="custom"))


class TestDistilledBase:
    def test_a_lora_in_the_prompt(self) -> None:
        lora = side("lcm-lora-sdxl", is_lora=True)
        sentence = only(side("dmd2_sdxl_4step_unet"), in_prompt=(lora, side("film_grain", is_lora=True)))
        assert sentence.startswith("The LoRA 'lcm-lora-sdxl' in the prompt is LCM (")
        assert sentence.endswith("or set LoRA targets to distilled.")

    @pytest.mark.parametrize("asked", [{"lora_targets": "distilled"}, {"base_lora_factor": 0}, {"mode": "distilled"}])
    def test_a_lora_that_the_base_does_not_get(self, asked: dict[str, Any]) -> None:
        assert said(side("dmd2_sdxl_4step_unet"), in_prompt=(side("lcm-lora-sdxl", is_lora=True),), **asked) == []

    def test_a_few_step_base(self) -> None:
        sentence = only(side("dmd2_sdxl_4step_unet"), base=LIGHTNING)
        assert sentence.startswith(f"'{LIGHTNING}' makes the base's steps and is SDXL-Lightning itself")

    def test_the_same_lora_once_more(self) -> None:
        assert "once more" in only(side("sdxl_lightning_4step_lora", is_lora=True), base=LIGHTNING)


class TestSteps:
    @pytest.mark.parametrize("name", ["dmd2_sdxl_4step_unet", "my_merge_v3"])
    def test_all_by_the_base(self, name: str) -> None:
        sentence = said(side(name), steps=4, switch_step=4)[0]
        assert sentence.startswith("The base makes the whole first pass, for the switch step is 4 of 4 steps")
        assert "blurry" in sentence

    @pytest.mark.parametrize(("steps", "k", "told"), [(20, 1, True), (30, 2, True), (20, 2, False), (8, 1, False)])
    def test_a_small_share(self, steps: int, k: int, told: bool) -> None:
        sentences = said(side("my_merge_v3"), steps=steps, switch_step=k, family="custom")
        assert bool(sentences) == told
        for sentence in sentences:
            assert sentence.startswith(f"The base makes {k} of {steps} steps, {100 * k / steps:.0f} % of the run")
            assert f"raise Switch step k to {-(-steps // 4)} for a quarter." in sentence


class TestGuidance:
    def test_above_1(self) -> None:
        assert only(side("dmd2_sdxl_4step_unet"), distilled_cfg=5).startswith("Distilled CFG is 5, and DMD2 models")

    @pytest.mark.parametrize("name", ["Hyper-SDXL-8steps-CFG-lora", "pcm_sd15_normalcfg_8step"])
    def test_of_files_that_want_it(self, name: str) -> None:
        assert said(side(name), distilled_cfg=5) == []

    def test_of_a_model_that_makes_nothing(self) -> None:
        assert said(side("dmd2_sdxl_4step_unet"), distilled_cfg=5, mode="base") == []

    def test_a_negative_prompt_at_1(self) -> None:
        told = warnings_on(situation(side("dmd2_sdxl_4step_unet"), negative_prompt=True))
        assert [caution.on_image for caution in told] == [False]
        assert told[0].sentence.startswith("The negative prompt has no effect, for Base CFG and Distilled CFG are 1")

    @pytest.mark.parametrize(
        ("asked", "start"),
        [
            ({"mode": "distilled", "base_cfg": 7}, "Distilled CFG is 1; set Distilled CFG above 1"),
            ({"mode": "base"}, "Base CFG is 1; set Base CFG to 2 or more"),
        ],
    )
    def test_a_negative_prompt_of_one_model(self, asked: dict[str, Any], start: str) -> None:
        assert start in only(side("dmd2_sdxl_4step_unet"), negative_prompt=True, **asked)

    @pytest.mark.parametrize("asked", [{"base_cfg": 3}, {"base_cfg": 0.5}])
    def test_a_negative_prompt_that_acts(self, asked: dict[str, Any]) -> None:
        assert said(side("dmd2_sdxl_4step_unet"), negative_prompt=True, **asked) == []


def test_every_sentence_has_a_remedy_and_no_word_of_the_api() -> None:
    everything = [
        *said(side("film_grain", is_lora=True), negative_prompt=True),
        *said(side(BASE), base=LIGHTNING),
        *said(side("dmd2_sdxl_4step_unet"), base=LIGHTNING, distilled_cfg=2, switch_step=4),
        *said(side(BASE), same="is the loaded checkpoint itself"),
    ]
    assert len(everything) >= 8
    for sentence in everything:
        assert has_a_remedy(sentence), sentence


def test_a_detection_by_the_user_counts_for_the_steps_alone() -> None:
    """Who names a family has said what the file is; it is asked no more."""
    named = Detection(FAMILIES["lcm"], 4, "you chose it")
    turned = replace(situation(side("my_merge_v3")), detection=named)
    assert [caution.sentence for caution in warnings_on(turned)] == []
