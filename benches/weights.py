"""The second parameter set: its exchange, its loading against the host's reload, its size."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from benches.host import Host
from benches.timing import Clock, Seconds
from extension_core.weights.second_model import SecondModel

_EXCHANGES = 10


def second_model(path: Path) -> SecondModel:
    """Our load of a distilled model, from the check of its header on."""
    from extension_core.hosts.a1111 import model

    return model.second_model(path, model.check_file(path, "auto"), lora_strength=1.0)


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


def measure_loads(host: Host, base: Path, distilled: Path, rounds: int) -> Loads:
    """All three in turn, from the page cache, after a round that is not counted."""
    loads = Loads()
    kinds = ((loads.ours, _our_load), (loads.reload, _reload), (loads.resident, _resident_load))
    for i in range(rounds + 1):
        for times, load in kinds if i % 2 == 0 else reversed(kinds):
            seconds = load(host, base, distilled)
            if i > 0:
                times.append(seconds)
    return loads


def _our_load(_host: Host, _base: Path, distilled: Path) -> Seconds:
    clock = Clock()
    second_model(distilled)
    seconds = clock.read()
    drop()
    return seconds


def _reload(host: Host, base: Path, distilled: Path) -> Seconds:
    clock = Clock()
    host.load(distilled)
    seconds = clock.read()
    host.load(base)
    return seconds


def _resident_load(host: Host, base: Path, distilled: Path) -> Seconds:
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
