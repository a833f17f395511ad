"""Telling a family from a file."""

from __future__ import annotations

import pytest

from extension_core.sampling.families import FAMILIES, Detection, detect_family, steps_for


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
