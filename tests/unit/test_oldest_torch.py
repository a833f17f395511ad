"""What keeps a file's code from running, with the versions of torch that hosts pin; each is installed for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.environments import ROOT

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.timeout(3600)]  # gigabytes each

# AUTOMATIC1111 1.6 to 1.8, and 1.9 and 1.10; the suite's own is what the newest of them run on.
TORCH = ("2.0.1", "2.1.2")
BESIDE = ("numpy<2", "safetensors==0.4.2", "pytest==8.3.4")
TESTS = ("tests/unit/test_pickles.py", "tests/unit/test_disguised.py")
TORCHSCRIPT = """
import sys, torch
class Adds(torch.nn.Module):
    def forward(self, x):
        return x + 1
come_to, load = [], torch.jit.load
torch.jit.load = lambda *given, **named: come_to.append(True) or load(*given, **named)
torch.jit.trace(Adds(), torch.ones(1)).save(sys.argv[1])
try:
    torch.load(sys.argv[1], weights_only=True)
finally:
    sys.exit(0 if come_to else 3)
"""


@pytest.mark.parametrize("version", TORCH)
def test_no_program_is_loaded(version: str, tmp_path: Path) -> None:
    python = str(tmp_path / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", f"torch=={version}", *BESIDE], check=True)
    alone = subprocess.run([python, "-c", TORCHSCRIPT, str(tmp_path / "m.ckpt")], check=False, capture_output=True)
    assert alone.returncode == 0, "this torch heeds weights_only by itself, so it shows nothing"
    apart = [
        "-c",
        os.devnull,
        "--rootdir",
        str(ROOT),
        "--noconftest",
        "--import-mode=importlib",
        "-p",
        "no:cacheprovider",
    ]
    command = [python, "-m", "pytest", "-q", *apart, "-o", f"pythonpath={ROOT}", *TESTS]
    ran = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
