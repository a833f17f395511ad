"""Who makes which phase, and when `auto` turns that round."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from extension_core.options.hybrid import Options
from extension_core.sampling.families import detect_family
from extension_core.sampling.roles import Resident, Roles, Side, roles_of, settled
from extension_core.sampling.routing import Phase

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

with (Path(__file__).parent / "family_names.tsv").open(encoding="utf-8", newline="") as table:
    ROWS = list(csv.DictReader(table, delimiter="\t"))
LIGHTNING = detect_family("juggernautXL_v9Rdphoto2Lightning", {})


def side(name: str, is_lora: bool = False) -> Side:
    return Side(name, detect_family(name, {}), is_lora)


def test_each_phase_has_a_model_of_its_own() -> None:
    for roles in (Roles(), Roles(Phase.DISTILLED)):
        assert {roles.resident(phase) for phase in Phase} == set(Resident)
        assert roles.resident(roles.loaded) is Resident.LOADED
        assert roles.resident(roles.second) is Resident.SECOND


@pytest.mark.parametrize(
    ("loaded_is", "text_encoder", "read"),
    [
        ("base", "auto", (Phase.DISTILLED,)),
        ("base", "own", (Phase.DISTILLED,)),
        ("base", "base", (Phase.DISTILLED,)),
        ("distilled", "auto", (Phase.BASE,)),
        ("distilled", "own", (Phase.BASE,)),
        ("distilled", "base", (Phase.BASE, Phase.DISTILLED)),
    ],
)
def test_which_phases_the_second_model_reads_for(loaded_is: str, text_encoder: str, read: tuple[Phase, ...]) -> None:
    assert roles_of(loaded_is).read_by_second(text_encoder) == read


@pytest.mark.parametrize("asked", ["base", "distilled"])
def test_what_the_user_says_counts(asked: str) -> None:
    assert settled(asked, "auto", LIGHTNING, side("sd_xl_base_1.0")) == asked
    assert settled(asked, "auto", None, None) == asked


@pytest.mark.parametrize(
    ("loaded", "chosen", "family", "expected"),
    [
        ("juggernautXL_v9Rdphoto2Lightning", "sd_xl_base_1.0", "auto", "distilled"),
        ("juggernautXL_v9Rdphoto2Lightning", "sd_xl_base_1.0", "lightning", "distilled"),
        ("juggernautXL_v9Rdphoto2Lightning", "sd_xl_base_1.0", "dmd2", "base"),
        ("juggernautXL_v9Rdphoto2Lightning", "sd_xl_base_1.0", "custom", "base"),
        ("juggernautXL_v9Rdphoto2Lightning", "dmd2_sdxl_4step_unet", "auto", "base"),
        ("juggernautXL_v9Rdphoto2Lightning", "ProteusV0.4-Lighting", "auto", "base"),
        ("juggernautXL_v9Rdphoto2Lightning", "RealDream_v4_8steps", "auto", "base"),
        ("my_fast_merge", "sd_xl_base_1.0", "auto", "base"),
        ("sd_xl_base_1.0", "juggernautXL_v9Rdphoto2Lightning", "auto", "base"),
        ("sd_xl_base_1.0", "dreamshaper_8", "auto", "base"),
    ],
)
def test_auto(loaded: str, chosen: str, family: str, expected: str) -> None:
    assert settled("auto", family, detect_family(loaded, {}), side(chosen)) == expected


def test_auto_leaves_a_lora_and_no_model_alone() -> None:
    assert settled("auto", "auto", LIGHTNING, side("film_grain", is_lora=True)) == "base"
    assert settled("auto", "auto", LIGHTNING, None) == "base"
    assert settled("auto", "auto", None, side("sd_xl_base_1.0")) == "base"


def test_no_few_step_file_becomes_a_base() -> None:
    few_step = [row["name"] for row in ROWS if row["family"] != "custom"]
    assert [name for name in few_step if settled("auto", "auto", LIGHTNING, side(name)) != "base"] == []


def test_requests_that_leave_it_out_are_as_before() -> None:
    assert Options().loaded_is == "base"
    assert not roles_of(Options().loaded_is).turned
