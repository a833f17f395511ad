"""`python -m benches.residency --flavour forge --json FILE`: what it costs where the two models live.

On a graphics card with U-Nets of SDXL's size at 1024 pixels. Without one scaled down: U-Nets of a tenth of SD 1.5's
width at 256 pixels on the processor, the card's memory being played in RAM, so that copies take their time but not
beside the computing.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benches import checkpoints
from benches.apart import HOSTS, parser, tell
from benches.host import Host
from benches.timing import Clock
from embedded.distill.export import build_model
from extension_core.weights.eight_bit import packed_bytes
from extension_core.weights.transfer import DirectCopies

RESIDENCIES = ("both", "ram", "8bit")
GB = 1e9
_BASE = {"steps": 50, "cfg_scale": 7.0, "sampler_name": "Euler"}


class PlayedCard(DirectCopies):
    """A card whose memory is RAM."""

    def serves(self, device: torch.device) -> bool:
        """Everything."""
        del device
        return True


@contextlib.contextmanager
def card(flavour: str) -> Iterator[bool]:
    """Whether there is a graphics card; without one it is played."""
    if torch.cuda.is_available():
        yield True
    elif flavour == "forge":  # its own memory management moves models, from RAM to RAM here
        yield False
    else:
        with mock.patch("extension_core.hosts.a1111.memory.copies", return_value=PlayedCard()):
            yield False


def run(folder: Path, flavour: str, threads: int | None, rounds: int, side: int | None = None) -> dict[str, Any]:
    """All figures of one host; images of `side` pixels, or of the size that belongs to the U-Nets."""
    on_card = torch.cuda.is_available()
    networks, size = (checkpoints.SDXL, 1024) if on_card else (checkpoints.QUICK, 256)
    size = side or size
    files = checkpoints.make(folder / "models", networks)
    host = HOSTS[flavour](files, folder / "data", threads, on_card)
    with card(flavour):
        measured = measure(host, files, rounds, size)
    where = torch.cuda.get_device_name() if on_card else "none: scaled down, the card's memory played in RAM"
    figures = {"card": where, "pixels": size, **measured, **_sdxl_sizes(folder)}
    return {f"{flavour}_residency_{name}": value for name, value in figures.items()}


def measure(host: Host, files: checkpoints.Files, rounds: int, size: int) -> dict[str, float]:
    """Whole requests side by side, from prompt to picture; the first round, which loads and moves, is not counted.

    A residency's first image after another's is not counted either: it moves what the other left elsewhere.
    """
    hybrid = {"distilled_model": files.distilled.name, "family": "lcm"}
    seconds: dict[str, list[float]] = {}
    memory: dict[str, dict[str, float]] = {}

    def timed(name: str, arguments: dict[str, Any], **request: Any) -> None:
        clock = Clock()
        host.generate(size, arguments, **request)
        seconds.setdefault(name, []).append(clock.read().wall)

    host.generate(size, hybrid)  # loads
    for _ in range(rounds + 1):
        timed("base", {"enabled": False}, **_BASE)
        for residency in RESIDENCIES:
            chosen = {**hybrid, "residency": residency}
            with _Watched(host) as watched:
                host.generate(size, chosen)
            memory[residency] = watched.gigabytes()
            timed(f"hybrid_{residency}", chosen)
            if residency == "both":
                timed("distilled", {**chosen, "mode": "distilled"})
    return {**_ratios({name: times[1:] for name, times in seconds.items()}), **_memory(memory)}


def _ratios(seconds: dict[str, list[float]]) -> dict[str, float]:
    def ratio(one: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(seconds[one], seconds[other], strict=True))

    figures = {f"{name}_seconds": statistics.median(times) for name, times in seconds.items()}
    for residency in RESIDENCIES:
        figures[f"base_over_hybrid_{residency}"] = ratio("base", f"hybrid_{residency}")
        figures[f"hybrid_over_distilled_{residency}"] = ratio(f"hybrid_{residency}", "distilled")
    for residency in RESIDENCIES[1:]:
        figures[f"{residency}_over_both"] = ratio(f"hybrid_{residency}", "hybrid_both")
    return figures


def _memory(memory: dict[str, dict[str, float]]) -> dict[str, float]:
    return {f"{when}_{residency}_gb": value for residency, by_time in memory.items() for when, value in by_time.items()}


class _Watched:
    """Bytes on the card at each U-Net call of a request, and before and after it."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._bytes: list[int] = []

    def __enter__(self) -> _Watched:
        self._before = self._now()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        kind = type(self._host.unets()[0])

        def before_call(module: torch.nn.Module, _args: Any) -> None:
            if isinstance(module, kind):
                self._bytes.append(self._now())

        self._handle = torch.nn.modules.module.register_module_forward_pre_hook(before_call)
        return self

    def __exit__(self, *_error: Any) -> None:
        self._handle.remove()
        self._after = self._now()

    def _now(self) -> int:
        """What torch has given out on the card; without one the U-Nets' weights that would be there."""
        return torch.cuda.memory_allocated() if torch.cuda.is_available() else self._host.weights_on_card()

    def gigabytes(self) -> dict[str, float]:
        """Before, in the base's step, in the last distilled step, after; and the peak on a real card."""
        times = {"before": self._before, "base_step": self._bytes[0], "last_step": self._bytes[-1]}
        times["after"] = self._after
        if torch.cuda.is_available():
            times["peak"] = torch.cuda.max_memory_allocated()
        return {name: value / GB for name, value in times.items()}


def _sdxl_sizes(folder: Path) -> dict[str, float]:
    """What SDXL's U-Net takes in fp16, and its base in 8 bits beside the distilled model: from its shapes."""
    with torch.device("meta"):
        unet = build_model(checkpoints.SDXL, folder).model.diffusion_model
    shapes = [tuple(parameter.shape) for parameter in unet.parameters()]
    numbers = sum(parameter.numel() for parameter in unet.parameters())
    return {
        "sdxl_unet_fp16_gb": 2 * numbers / GB,
        "sdxl_base_in_8_bits_gb": sum(packed_bytes(shape, 2) for shape in shapes) / GB,
    }


def main() -> int:
    """Measure, print, write."""
    arguments = parser("benches.residency", __doc__, "one small image of each")
    arguments.add_argument("--rounds", type=int, default=5, help="repeats (default: 5)")
    options = arguments.parse_args()
    lengths = (1, 64) if options.quick else (options.rounds, None)
    return tell(options.json, lambda folder: run(folder, options.flavour, options.threads, *lengths))


if __name__ == "__main__":
    sys.exit(main())
