"""What was asked in whose place others run, in the host's words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.embedded.conftest import Host

ASKED = {"sampler_name": "DPM++ SDE", "scheduler": "Karras", "steps": 20, "cfg_scale": 7.0}
RUNS = {"sampler_name": "Euler a", "scheduler": "Automatic", "steps": 4, "cfg_scale": 1.0}
HIRES = {"hr_sampler_name": "Heun", "hr_second_pass_steps": 10}


@pytest.mark.parametrize(
    ("asked", "runs", "told"),
    [
        (ASKED, RUNS, "Sampler DPM++ SDE, Schedule type Karras, Steps 20, CFG scale 7"),
        (ASKED, ASKED, ""),
        ({**RUNS, "cfg_scale": 2.5}, RUNS, "CFG scale 2.5"),
        ({**RUNS, "scheduler": None}, RUNS, ""),
        (
            {**RUNS, "enable_hr": True, **HIRES},
            {**RUNS, "enable_hr": True, "hr_sampler_name": None, "hr_second_pass_steps": 4},
            "Hires sampler Heun, Hires steps 10",
        ),
        ({**RUNS, "enable_hr": False, **HIRES}, RUNS, ""),
        (
            {**RUNS, "enable_hr": True, "hr_sampler_name": None, "hr_second_pass_steps": 0},
            {**RUNS, "enable_hr": True, "hr_sampler_name": None, "hr_second_pass_steps": 4},
            "",
        ),
    ],
)
def test_what_was_asked(host: Host, asked: dict[str, Any], runs: dict[str, Any], told: str) -> None:
    from extension_core.hosts.common.plan.replaced_settings import replaced, settings_of

    assert replaced(settings_of(SimpleNamespace(**asked)), settings_of(SimpleNamespace(**runs))) == told
