"""Like Forge: the switch from one U-Net to the other, hybrid sampling, and the second load against the host's own."""

from __future__ import annotations

import statistics
from pathlib import Path

import torch

from benches import checkpoints, sampling
from benches.host import Host
from benches.timing import Clock, Seconds
from extension_core.weights.wanted import Wanted

TARGETS = {"forge_hybrid_over_bare_calls": 1.01, "forge_switch_ms": 5.0, "forge_second_load_over_host_load": 1.0}


class Forge(Host):
    """The embedded WebUI's Forge flavour."""

    flavour = "forge"

    def unets(self) -> list[torch.nn.Module]:
        """As `Host`."""
        from extension_core.hosts.forge import model

        second = model.RESIDENCY.model
        assert second is not None, "the distilled model is not resident"
        return [model.live_unet().diffusion_model, second.unet.patcher.model.diffusion_model]

    def load(self, path: Path) -> None:
        """Make a checkpoint the host's model: always built anew."""
        from modules_forge import main_entry

        main_entry.checkpoint_change(path.name, save=False)
        main_entry.refresh_model_loading_parameters()
        self.models.forge_model_reload()


def run(folder: Path, files: checkpoints.Files, *, threads: int | None, rounds: int, size: int) -> dict[str, float]:
    """All figures, under names that begin with `forge_`."""
    host = Forge(files, folder / "data", threads)
    figures: dict[str, float] = dict.fromkeys(TARGETS, 0.0)
    figures |= _load_figures(host, files.base, files.distilled, rounds)
    arguments = {"distilled_model": files.distilled.name, "family": "lcm"}
    measured = sampling.measure(host, size, arguments, rounds)
    named = {f"forge_{name}": value for name, value in sampling.figures(measured).items()}
    return figures | named | _switch_figures(measured)


def _switch_figures(rounds: list[sampling.Round]) -> dict[str, float]:
    """What the gap before the first distilled call has over the later gaps of the same request."""
    switch = statistics.median(r.gaps[0] - statistics.median(r.gaps[1:]) for r in rounds)
    return {"forge_switch_ms": switch, "forge_step_ms": statistics.median(r.gaps[1] for r in rounds)}


def _load_figures(host: Forge, base: Path, distilled: Path, rounds: int) -> dict[str, float]:
    """Both loads in turn, from the page cache, after a round that is not counted."""
    ours, theirs = [], []
    for i in range(rounds + 1):
        for times, load in ((ours, _our_load), (theirs, _host_load))[:: 1 if i % 2 else -1]:
            seconds = load(host, base, distilled)
            if i > 0:
                times.append(seconds)
    pairs = list(zip(ours, theirs, strict=True))
    return {
        "forge_second_load_over_host_load": statistics.median(our.wall / their.wall for our, their in pairs),
        "forge_second_load_over_host_load_cpu": statistics.median(our.cpu / their.cpu for our, their in pairs),
        "forge_second_load_seconds": statistics.median(seconds.wall for seconds in ours),
        "forge_host_load_seconds": statistics.median(seconds.wall for seconds in theirs),
    }


def _our_load(_host: Forge, _base: Path, distilled: Path) -> Seconds:
    from extension_core.hosts.forge import model

    clock = Clock()
    model.second_model(Wanted(distilled, model.check_file(distilled, "auto")))
    seconds = clock.read()
    model.RESIDENCY.drop()
    return seconds


def _host_load(host: Forge, base: Path, distilled: Path) -> Seconds:
    clock = Clock()
    host.load(distilled)
    seconds = clock.read()
    host.load(base)
    return seconds
