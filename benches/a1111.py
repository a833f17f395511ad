"""Like A1111: the second parameter set's exchange, its loading against the host's own, its size; and sampling."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import torch

from benches import checkpoints, sampling
from benches.host import Host
from benches.timing import Clock, Seconds, return_free_memory
from extension_core.weights.reader import read_header
from extension_core.weights.second_model import SecondModel
from extension_core.weights.selection import Selection

MIB = 1 << 20
_EXCHANGES = 10


class A1111(Host):
    """The embedded WebUI's A1111 flavour."""

    flavour = "a1111"

    def unets(self) -> list[torch.nn.Module]:
        """As `Host`."""
        return [self.shared.sd_model.model.diffusion_model]

    def weights_on_card(self) -> int:
        """As `Host`."""
        from extension_core.hosts.a1111 import model

        live = sum(parameter.nbytes for parameter in self.unets()[0].parameters())
        second = model.RESIDENCY.model
        if second is None:
            return live
        beside = 0 if second.unet.in_ram else second.unet.bytes_held
        return live + beside + (second.base.bytes_held if second.base else 0)

    def load(self, path: Path) -> None:
        """Make a checkpoint the host's model: built the first time, reloaded in place from then on."""
        info = self.models.get_closet_checkpoint_match(path.name)
        self.models.reload_model_weights(info=info)

    def keep(self, limit: int) -> None:
        """Set the host's limit on resident checkpoints; the next load keeps to it."""
        self.shared.opts.data["sd_checkpoints_limit"] = limit


def run(folder: Path, files: checkpoints.Files, *, threads: int | None, rounds: int, size: int) -> dict[str, float]:
    """All figures, in the order in which the files are needed."""
    host = A1111(files, folder / "data", threads)
    figures = _load_figures(measure_loads(host, files.base, files.distilled, rounds))
    figures |= _exchange_figures(files.distilled)
    arguments = {"distilled_model": files.distilled.name, "family": "lcm"}
    figures |= sampling.figures(sampling.measure(host, size, arguments, rounds))
    return figures | _memory_figures(files)


def second_model(path: Path) -> SecondModel:
    """Our load of a distilled model, from the check of its header on."""
    from extension_core.hosts.a1111 import model

    request = SimpleNamespace(width=512, height=512, batch_size=1)
    return model.second_model(
        Selection(read_header(path), model.live_model().check_file(path, "auto")), request, "both"
    )[0]


def drop() -> None:
    """Let the second model go."""
    from extension_core.hosts.a1111 import model

    model.RESIDENCY.drop()


@dataclass
class Loads:
    """Loads of one file: one of each kind a round.

    Attributes:
        ours: as the second set of the resident base.
        reload: the host's reload, in place of the base.
        resident: the host's load beside the base, with its limit on resident checkpoints at 2.
    """

    ours: list[Seconds] = field(default_factory=list)
    reload: list[Seconds] = field(default_factory=list)
    resident: list[Seconds] = field(default_factory=list)


def measure_loads(host: A1111, base: Path, distilled: Path, rounds: int) -> Loads:
    """All three in turn, from the page cache into memory new to the process; the first round is not counted."""
    loads = Loads()
    kinds = ((loads.ours, _our_load), (loads.reload, _reload), (loads.resident, _resident_load))
    for i in range(rounds + 1):
        for times, load in kinds if i % 2 == 0 else reversed(kinds):
            return_free_memory()
            seconds = load(host, base, distilled)
            if i > 0:
                times.append(seconds)
    return loads


def _our_load(_host: A1111, _base: Path, distilled: Path) -> Seconds:
    clock = Clock()
    second_model(distilled)
    seconds = clock.read()
    drop()
    return seconds


def _reload(host: A1111, base: Path, distilled: Path) -> Seconds:
    clock = Clock()
    host.load(distilled)
    seconds = clock.read()
    host.load(base)
    return seconds


def _resident_load(host: A1111, base: Path, distilled: Path) -> Seconds:
    host.keep(2)
    clock = Clock()
    host.load(distilled)
    seconds = clock.read()
    host.keep(1)
    host.load(base)
    return seconds


def measure_exchange(path: Path, rounds: int) -> tuple[list[Seconds], int]:
    """(time of one exchange of the U-Net's two sets, in each round; tensors exchanged)."""
    second = second_model(path)
    times = []
    for _ in range(rounds):
        clock = Clock()
        for _ in range(_EXCHANGES):
            second.unet.exchange()
        times.append(clock.read() / _EXCHANGES)
    second.restore()
    return times, len(second.unet)


def bytes_held(path: Path) -> tuple[int, int, int]:
    """(bytes that the second set of the U-Net holds, its tensors, bytes of one number in the live U-Net)."""
    from extension_core.hosts.a1111 import model

    drop()
    second = second_model(path)
    held, tensors = second.unet.bytes_held, len(second.unet)
    drop()
    return held, tensors, model.unet_parameters()[0].tensor.element_size()


def _load_figures(loads: Loads) -> dict[str, float]:
    figures = {"second_load_seconds": statistics.median(seconds.wall for seconds in loads.ours)}
    for name, theirs in (("host_load", loads.resident), ("host_reload", loads.reload)):
        pairs = list(zip(loads.ours, theirs, strict=True))
        figures[f"second_load_over_{name}"] = statistics.median(ours.wall / host.wall for ours, host in pairs)
        figures[f"second_load_over_{name}_cpu"] = statistics.median(ours.cpu / host.cpu for ours, host in pairs)
        figures[f"{name}_seconds"] = statistics.median(host.wall for host in theirs)
    return figures


def _exchange_figures(distilled: Path) -> dict[str, float]:
    """The least of many, as for every time of milliseconds: what is longer was lengthened by other programs."""
    times, tensors = measure_exchange(distilled, 30)
    per_thousand = [seconds.wall * 1e3 * 1000 / tensors for seconds in times]
    return {
        "exchange_ms_per_1000_tensors": min(per_thousand),
        "exchange_ms_per_1000_tensors_median": statistics.median(per_thousand),
        "exchange_tensors": tensors,
    }


def _memory_figures(files: checkpoints.Files) -> dict[str, float]:
    held, tensors, number_size = bytes_held(files.partly)
    differing, numbers = checkpoints.differing_unet_numbers(files.base, files.partly)
    return {
        "extra_bytes_over_differing_bytes": held / (numbers * number_size),
        "extra_mib": held / MIB,
        "extra_tensors": tensors,
        "differing_tensors": differing,
        "file_mib": files.partly.stat().st_size / MIB,
    }
