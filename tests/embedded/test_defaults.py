"""What a user has saved as defaults of our panel under the labels of before."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.embedded.conftest import Host


def test_what_was_saved_for_our_panel_under_another_label(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modules import shared

    from extension_core.hosts.common.page.saved_defaults import saved_by_label

    file = tmp_path / "ui-config.json"
    monkeypatch.setattr(shared.cmd_opts, "ui_config_file", str(file))
    script: Any = SimpleNamespace(filename="/anywhere/scripts/diversity_distillation.py")
    assert saved_by_label(script, "txt2img")("Memory") is None
    file.write_text(json.dumps({"customscript/diversity_distillation.py/img2img/Memory/value": "ram"}))
    assert saved_by_label(script, "img2img")("Memory") == "ram"
    assert saved_by_label(script, "txt2img")("Memory") is None
    for broken in ("[1]", "{", ""):
        file.write_text(broken)
        assert saved_by_label(script, "img2img")("Memory") is None
