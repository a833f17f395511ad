"""accelerate's part in an update: half precision with several optimizers, and several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from extension_core.training.run.stepping import AcceleratedStepping

SCRIPT = """
import sys, torch
from accelerate import Accelerator
from extension_core.training.run.stepping import AcceleratedStepping
from tests.training.test_draws import descent, gradients

accelerator = Accelerator(cpu=True)
rank, processes = accelerator.process_index, accelerator.num_processes
run = descent(rank, processes, 64 // processes)
run._stepping = AcceleratedStepping(accelerator)
torch.save(gradients(run), f"{sys.argv[1]}/{processes}-{rank}.pt")
accelerator.end_training()
"""


def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    root = Path(__file__).parents[2]
    environ = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    for processes in (1, 2):
        # What `accelerate launch` starts several processes with, where they have a graphics card each.
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        subprocess.run([*command, str(script), str(tmp_path)], cwd=root, env=environ, check=True, capture_output=True)
    one, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1-0", "2-0", "2-1"))
    assert torch.equal(first, second), "each process has the mean"
    assert torch.allclose(first, one, rtol=1e-4, atol=1e-7)


def test_several_optimizers_share_one_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients far beyond half precision's range are skipped, the others used at their true size, and once."""
    accelerator = Accelerator(cpu=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=1)
    monkeypatch.setattr(accelerator, "scaler", scaler)
    stepping = AcceleratedStepping(accelerator)
    values = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    optimizers = [torch.optim.SGD([value], lr=0.5) for value in values]
    for update in range(3):
        for optimizer in optimizers:
            optimizer.zero_grad()
        scaler.scale(values[0].sum()).backward()
        scaler.scale(2 * values[1].sum()).backward()
        if update == 1:
            assert values[0].grad is not None
            values[0].grad.fill_(float("inf"))
        stepping.step(optimizers, 1e9)
    assert values[0].tolist() == [0.0] * 3, "two steps of 0.5; the one without a number was left out"
    assert values[1].tolist() == [-2.0] * 3
    assert scaler.get_scale() == 2.0**11, "doubled, halved and doubled"
