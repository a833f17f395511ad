"""Files as people name them: which family the name alone tells, for names collected from public pages.

`family_names.tsv` has the right answer for each and where the name was found. A file that goes by a name that says too
little is custom there too: the user is told so and chooses, which costs a click, where a wrong family costs the image.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from extension_core.sampling.families import FAMILIES, detect_family

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

with (Path(__file__).parent / "family_names.tsv").open(encoding="utf-8", newline="") as table:
    ROWS = list(csv.DictReader(table, delimiter="\t"))
# Of a family by what their pages say; by their names they could be of something else.
ASKED_FOR = {
    "Real-Dream-Lightning-1",
    "RealitiesEdgeXLLIGHTNING_TURBOXLV2",
    "Realistic_Vision_V5.1_Hyper",
    "artium_v20Turboboosted",
    "boltningRealistic_hyperD",
    "creapromptLightning_creapromptUltimate4",
    "creapromptLightning_v13",
    "imaginarium_v10TurboBoosted",
    "manne_turbo",
    "pixelwaveturboExcellent_03",
    "ponyRealism_v21Lightning4SVAE",
    "real-dream-pony-lightning-1",
    "realisticVisionV60B1_v51HyperVAE",
    "tempestByVlad_hyperV01",
    "vibrantHorizonTurbo_v20",
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_the_family_and_the_steps(row: dict[str, str]) -> None:
    found = detect_family(row["name"], {})
    expected = "custom" if row["name"] in ASKED_FOR else row["family"]
    assert (found.family.name, str(found.steps or "-")) == (expected, row["steps"])
    assert row["name"] in found.why or found.why.startswith("neither file name nor metadata")


def test_the_table() -> None:
    names = [row["name"] for row in ROWS]
    assert len(names) == len(set(names)) >= 200
    assert all(row["family"] in FAMILIES and row["source"] for row in ROWS)
    assert {row["name"] for row in ROWS if row["family"] != "custom"} >= ASKED_FOR
    assert sum(row["family"] == "custom" for row in ROWS) >= 100


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("porsche_911_turbo_sdxl", "custom"),
        ("SDXL_Porsche_911_Turbo", "custom"),
        ("turbo_granny_xl", "custom"),
        ("turbocharged engine v2", "custom"),
        ("lightning_bolt_v1", "custom"),
        ("SDXL-Lightning-Bolt-Effect", "custom"),
        ("lightning_farron_xl", "custom"),
        ("ball lightning XL", "custom"),
        ("hyperdetailed_xl", "custom"),
        ("hyper detailed v2", "custom"),
        ("pcm_audio_waveform", "custom"),
        ("tcd_monogram", "custom"),
        ("flash_photography_xl", "custom"),
        ("calcmaster", "custom"),
        ("admd_mix", "custom"),
        ("detail_tweaker_for_lcm", "custom"),
        ("style_without_turbo_xl", "custom"),
        *(
            (f"{begin}{word}", "custom")
            for begin in ("sdxl_turbo_", "modelXL_v2Lightning", "juggernautXL_hyper_")
            for word in ("Mix", "Mixed", "Merge", "Merged", "Blend")
        ),
        ("merged_sdxl_turbo", "custom"),
        ("dreamshaperXL_lightning_v2_merged", "custom"),
        ("Turbo Mix XL", "custom"),
        ("myMixXL_v3Lightning", "lightning"),
        ("sdxl_lightning_merge_4steps", "lightning"),
        ("lcm_merge", "lcm"),
        ("lcm_mix", "lcm"),
        ("xl_turbo", "turbo"),
        ("SDXL Lightning LoRA", "lightning"),
        ("hypersdxl_v1", "hyper"),
        ("sdxllcm", "lcm"),
        ("models/lcm-sd/unet/diffusion_pytorch_model", "lcm"),
        ("lightning/faces_v2", "custom"),
        ("雷电lightning_v1", "custom"),
        ("LCM加速_v1", "lcm"),
    ],
)
def test_tempting_words(name: str, family: str) -> None:
    """Made up: what the words of the methods mean elsewhere, and the methods in other spellings."""
    assert detect_family(name, {}).family.name == family


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("dmd2_v2-step00002500", None),
        ("dmd2_v2_step_1000", None),
        ("dmd2_2500steps", None),
        ("dmd2 4 steps", 4),
        ("dmd2_4steps-000010", 4),
        ("dmd2_v2_4step", 4),
        ("dmd24step", 4),
        ("lcm_8Steps_v3", 8),
        ("lcm_0step", None),
        ("lcm_v8steps", None),
        ("lcm_4-6steps", 6),
        ("lcm_" + "4" * 5000 + "steps", None),
    ],
)
def test_step_counts(name: str, steps: int | None) -> None:
    assert detect_family(name, {}).steps == steps
