"""Measures DDIL's claim on mixtures whose teacher is known exactly, and writes figures and a table.

    python run.py python -m benches.ddil --out DIR [--mixture grid] [--methods pd lcm dmd2] [--steps 4] [--seeds 5]

Every arm has the same teacher, data, start, seeds and number of rows given to networks and teacher, rollouts among
them. Results are written after every student, so that a run that was ended goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from benches.ddil.arms import ARMS, METHODS, Trained, train
from benches.ddil.measures import density_coverage, energy_distance, entropy, frechet_distance
from benches.ddil.mixture import Mixture
from benches.ddil.student import Student, pretrained
from benches.ddil.table import table
from extension_core.training.noise_schedule import NoiseSchedule
from extension_core.training.rollout import rollout, sample

NOISE = NoiseSchedule.stable_diffusion()
MIXTURES = {"grid": Mixture.unequal_grid, "scattered": Mixture.scattered}
SAMPLES = 4000


def measured(trained: Trained, mixture: Mixture, seed: int) -> dict[str, Any]:
    """What a student's samples miss of the data, and how far its own states are from those it was told of."""
    generator = torch.Generator().manual_seed(10_000 + seed)
    grid, schedule = trained.method.grid, trained.schedule
    noise = torch.randn(SAMPLES, *mixture.shape, generator=generator)
    with torch.no_grad():
        made = sample(trained.method.sampled, schedule, grid.steps, noise, {}, generator, grid.sampler)
        data, _ = mixture.draw(SAMPLES, generator)
        density, coverage = density_coverage(data[:2000], made[:2000])
        reached = mixture.reached(made)
        return {
            "frechet": frechet_distance(data, made),
            "energy": energy_distance(data[:2000], made[:2000]),
            "density": density,
            "coverage": coverage,
            "modes": int((reached > 0.2 * mixture.weights).sum()),
            "entropy": entropy(reached),
            "shift": covariate_shift(trained, mixture, noise[:2000], generator),
        }


def covariate_shift(trained: Trained, mixture: Mixture, noise: torch.Tensor, generator: torch.Generator) -> list[float]:
    """Energy distance, at each step, between the student's own states and noised data."""
    grid, schedule = trained.method.grid, trained.schedule
    found: list[float] = []
    for step in rollout(trained.method.sampled, schedule, grid.steps, noise, {}, generator, grid.sampler):
        data, _ = mixture.draw(len(noise), generator)
        timesteps = torch.full((len(noise),), step.timestep)
        noised = schedule.add_noise(data, timesteps, torch.randn(data.shape, generator=generator))
        found.append(energy_distance(step.z, noised))
    return found


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every student that is not in the file yet; all rows."""
    file = Path(options.out) / "students.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    known = {(row["mixture"], row["method"], row["arm"], row["steps"], row["seed"], row["budget"]) for row in rows}
    starts: dict[int, Student] = {}
    mixture = MIXTURES[options.mixture]()
    for seed in range(options.seeds):
        for steps in options.steps:
            for method in options.methods:
                for arm in (arm for arm in ARMS if not options.arms or arm.name in options.arms):
                    key = (options.mixture, method, arm.name, steps, seed, options.rows)
                    if key in known:
                        continue
                    if seed not in starts:
                        starts[seed] = pretrained(mixture, NOISE, seed)
                    began = time.perf_counter()
                    trained = train(mixture, starts[seed], method, arm, steps, seed, options.rows)
                    seconds = time.perf_counter() - began
                    row = dict(zip(("mixture", "method", "arm", "steps", "seed", "budget"), key, strict=True))
                    row |= {"rows": trained.evaluations, "updates": trained.updates, "seconds": round(seconds, 2)}
                    rows.append({**row, **measured(trained, mixture, seed)})
                    with file.open("a") as out:
                        out.write(json.dumps(rows[-1]) + "\n")
                    print(
                        {name: rows[-1][name] for name in ("method", "arm", "seed", "coverage", "energy")}, flush=True
                    )
    return rows


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python run.py python -m benches.ddil", description=__doc__)
    made.add_argument("--out", type=Path, required=True)
    made.add_argument("--mixture", choices=sorted(MIXTURES), default="grid")
    made.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    made.add_argument("--arms", nargs="+", choices=[arm.name for arm in ARMS], default=[])
    made.add_argument("--steps", nargs="+", type=int, default=[4])
    made.add_argument("--seeds", type=int, default=5)
    made.add_argument("--rows", type=int, default=4_000_000, help="given to networks and teacher by each arm")
    return made


if __name__ == "__main__":
    torch.set_num_threads(1)
    options = parser().parse_args()
    text = table(run(options))
    (options.out / "table.md").write_text(text)
    print(text)
