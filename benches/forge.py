"""Like Forge: the switch from one U-Net to the other, hybrid sampling, and the second load against the host's own."""

from __future__ import annotations

import gc
import statistics
from pathlib import Path

import torch

from benches import checkpoints, sampling
from benches.host import Host
from benches.timing import Clock, Seconds, return_free_memory
from extension_core.weights.reader import read_header
from extension_core.weights.selection import Selection


class Forge(Host):
    """The embedded WebUI's Forge flavour."""

    flavour = "forge"

    def unets(self) -> list[torch.nn.Module]:
        """As `Host`."""
        from extension_core.hosts.forge import model

        second = model.RESIDENCY.model
        beside = [] if second is None else [second.unet.patcher.model.diffusion_model]
        return [model.live_unet().diffusion_model, *beside]

    def weights_on_card(self) -> int:
        """As `Host`."""
        from backend import memory_management

        loaded = {id(item.model.model): item.model.model for item in memory_management.current_loaded_models}
        unets = [model.diffusion_model for model in loaded.values() if hasattr(model, "diffusion_model")]
        return sum(parameter.nbytes for unet in unets for parameter in unet.parameters())

    def load(self, path: Path) -> None:
        """Make a checkpoint the host's model: always built anew."""
        from modules_forge import main_entry

        main_entry.checkpoint_change(path.name, save=False)
        main_entry.refresh_model_loading_parameters()
        self.models.forge_model_reload()


def run(folder: Path, files: checkpoints.Files, *, threads: int | None, rounds: int, size: int) -> dict[str, float]:
    """All figures, under names that begin with `forge_`."""
    host = Forge(files, folder / "data", threads)
    figures = _load_figures(host, files.base, files.distilled, rounds)
    arguments = {"distilled_model": files.distilled.name, "family": "lcm"}
    measured = sampling.measure(host, size, arguments, rounds)
    named = {f"forge_{name}": value for name, value in sampling.figures(measured).items()}
    return figures | named | _switch_figures(measured)


def _switch_figures(rounds: list[sampling.Round]) -> dict[str, float]:
    """What the gap before the first distilled call has over the later gaps of the same request."""
    switch = statistics.median(r.gaps[0] - statistics.median(r.gaps[1:]) for r in rounds)
    return {"forge_switch_ms": switch, "forge_step_ms": statistics.median(r.gaps[1] for r in rounds)}


def _load_figures(host: Forge, base: Path, distilled: Path, rounds: int) -> dict[str, float]:
    """All three loads in turn, from the page cache into memory new to the process; the first round is not counted."""
    ours: list[Seconds] = []
    theirs: dict[str, list[Seconds]] = {"host_load": [], "host_reload": []}
    kinds = ((ours, _our_load), (theirs["host_load"], _host_load), (theirs["host_reload"], _host_reload))
    for i in range(rounds + 1):
        for times, load in kinds if i % 2 else reversed(kinds):
            return_free_memory()
            seconds = load(host, base, distilled)
            if i > 0:
                times.append(seconds)
    figures = {"forge_second_load_seconds": statistics.median(seconds.wall for seconds in ours)}
    for name, times in theirs.items():
        pairs = list(zip(ours, times, strict=True))
        figures[f"forge_second_load_over_{name}"] = statistics.median(our.wall / their.wall for our, their in pairs)
        figures[f"forge_second_load_over_{name}_cpu"] = statistics.median(our.cpu / their.cpu for our, their in pairs)
        figures[f"forge_{name}_seconds"] = statistics.median(seconds.wall for seconds in times)
    return figures


def _our_load(_host: Forge, _base: Path, distilled: Path) -> Seconds:
    from extension_core.hosts.forge import model

    clock = Clock()
    model.second_model(Selection(read_header(distilled), model.live_model().check_file(distilled, "auto")))
    seconds = clock.read()
    model.RESIDENCY.drop()
    return seconds


def _host_load(_host: Forge, _base: Path, distilled: Path) -> Seconds:
    """By the host's own loader, beside the base: to the same end as ours, which needs new memory."""
    from backend import loader

    clock = Clock()
    model = loader.forge_loader(str(distilled))
    seconds = clock.read()
    del model
    gc.collect()
    return seconds


def _host_reload(host: Forge, base: Path, distilled: Path) -> Seconds:
    """In place of the base, whose memory it gets."""
    clock = Clock()
    host.load(distilled)
    seconds = clock.read()
    host.load(base)
    return seconds
