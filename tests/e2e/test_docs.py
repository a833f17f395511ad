"""The examples of docs/api.md run as they stand there, with this host's address and models in their places."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.client import Pair, WebUI
from tests.waiting import PATIENCE

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```(python|bash)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def placed(text: str, webui: WebUI, pair: Pair) -> str:
    """With what is here instead of the page's address, model and size."""
    for written, here in (
        ("http://127.0.0.1:7860", webui.url),
        ("my_dmd2", pair.distilled),
        ('"width": 512, "height": 512', '"width": 64, "height": 64'),
        ('prompt="a monster", ', 'prompt="a monster", width=64, height=64, '),
    ):
        assert written in PAGE
        text = text.replace(written, here)
    return text


def test_the_python_examples_run_one_after_the_other(webui: WebUI, pair: Pair, tmp_path: Path) -> None:
    webui.generate(pair.base).must_work()
    webui.call("/sdapi/v1/options", {"sd_model_checkpoint": pair.base})
    script = tmp_path / "examples.py"
    blocks = [text for language, text in EXAMPLES if language == "python"]
    assert len(blocks) >= 8
    script.write_text(placed("\n".join(blocks), webui, pair), encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "did you mean 'switch_step'?" in done.stdout
    assert "base 999 -> 759 -> 499, distilled 499 -> 259 -> 0" in done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")
@pytest.mark.parametrize("text", [text for language, text in EXAMPLES if language == "bash"])
def test_the_shell_examples_answer(webui: WebUI, pair: Pair, text: str) -> None:
    webui.generate(pair.base).must_work()
    command = placed(text, webui, pair).replace("curl -s", "curl -sf")
    done = subprocess.run(["bash", "-ec", command], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)
