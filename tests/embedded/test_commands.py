"""Commands of the README and the docs that start a WebUI or ask one, in a short form; tests/unit/test_commands.py lists
all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from embedded.distill.export import EMBEDDED_PAIR
from tests.e2e.checkpoints import make_pairs
from tests.e2e.embedded_host import ROOT
from tests.embedded.servers import Server, started

FLAVOUR = os.environ.get("DD_FLAVOUR", "a1111")
PYTHON = [sys.executable, "run.py", "python"]


def run(*command: str, status: int = 0, **environ: str) -> str:
    """What it prints."""
    done = subprocess.run(
        [*PYTHON, *command] if command[0] != "run.py" else [sys.executable, *command],
        cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a WebUI with the trained pair, started as docs/benchmarks.md starts it."""
    folder = tmp_path_factory.mktemp("trained")
    models, loras = folder / "models", folder / "Lora"
    shutil.copytree(EMBEDDED_PAIR, models)
    loras.mkdir()
    command = [*PYTHON, "-m", "embedded", "--flavour", FLAVOUR, "--ckpt-dir", str(models)]
    command += ["--lora-dir", str(loras), "--headless", "--data-dir", str(folder / "data"), "--threads", "1"]
    with started(Server, command, folder) as server:
        yield server.url


@pytest.mark.once
def test_the_headless_demo_writes_what_it_promises(tmp_path: Path) -> None:
    short = ("--seeds", "2", "--prompts", "a monster")
    printed = run("run.py", "demo", "--headless", "--flavour", FLAVOUR, "--out", str(tmp_path), *short)
    assert f"written to {tmp_path}" in printed
    report = json.loads((tmp_path / "demo.json").read_text())
    for name, calls in (("base", 25), ("distilled", 4), ("hybrid", 4)):
        assert report[name]["unet_calls"] == calls
        with Image.open(tmp_path / f"{name}.png") as grid:
            assert grid.width > 2 * 128


@pytest.mark.once
def test_what_asks_a_running_webui(trained: str, tmp_path: Path) -> None:
    run("-m", "embedded.demo.residency", "--url", trained, "--out", str(tmp_path), "--seeds", "8")
    assert "hybrid" in (tmp_path / "table.md").read_text()
    run("-m", "embedded.demo.schedules", "--url", trained, "--out", str(tmp_path), "--seeds", "8")
    grids = json.loads((tmp_path / "schedules.json").read_text())
    for mode in ("distilled", "hybrid", "hybrid_k2"):
        assert 0 < grids[mode]["dissimilarity_same_seed"] < grids[mode]["dissimilarity_between_seeds"]
    asked = ("--url", trained, "--out", str(tmp_path / "transfer"))
    said = run("-m", "embedded.demo.transfer", *asked, status=1)  # whole against a server in test_demo.py
    assert "transfer: the WebUI does not list the LoRA" in said.replace(trained, "the WebUI")
    folder = ("--url", trained, "--distilled", "monsters_distilled", "--json", str(tmp_path / "folder.json"))
    run("-m", "benches.folder", *folder)
    assert json.loads((tmp_path / "folder.json").read_text())["ours_models_warm_seconds"] > 0
    picked = ("tests/e2e/test_docs.py", "-k", "shell", "-q")
    assert "2 passed" in run("-m", "pytest", *picked, DD_WEBUI_URL=trained)


@pytest.mark.once
def test_forms_are_written_beside_a_pair(tmp_path: Path) -> None:
    config = make_pairs(tmp_path)
    models, unets = tmp_path / "models", tmp_path / "unet"
    pair = (models / "tiny_base.safetensors", models / "tiny_distilled.safetensors")
    before = set(models.iterdir())
    run("-m", "tests.e2e.forms", *map(str, (*pair, config, models, unets, tmp_path / "Lora")))
    assert set(models.iterdir()) > before
    assert any(unets.iterdir())
