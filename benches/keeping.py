"""What stays between images: networks in the weights, and memory."""

from __future__ import annotations

import importlib
import itertools
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import safetensors
import safetensors.torch
import torch

from benches import checkpoints
from benches.host import Host
from benches.timing import return_free_memory
from embedded.distill.export import build_model
from embedded.distill.low_rank import UnetLora

# What each host calls for every layer that it puts networks into.
MERGING = {
    "a1111": "networks.network_restore_weights_from_backup",
    "forge": "backend.patcher.lora.merge_lora_to_weight",
}
SIDE = 64
# Generations in one turn of all requests, and readings at either end that are compared.
TURN = 10
ENDS = 3
LORA = "bench_lora"


def make_lora(folder: Path, models: Path) -> None:
    """A random LoRA on every attention layer of the checkpoints' U-Net."""
    generator = torch.Generator().manual_seed(3)
    lora = UnetLora(build_model(checkpoints.QUICK, models).model.diffusion_model, 4, generator)
    with torch.no_grad():
        for layer in lora.layers.values():
            layer.up.copy_(torch.randn(layer.up.shape, generator=generator) * 0.01)
    lora.save(folder / f"{LORA}.safetensors", {})


def merges(host: Host, files: checkpoints.Files) -> dict[str, int]:
    """Layers that the host merges networks into, in an image with a LoRA and in the next with the same LoRA."""
    path = MERGING[host.flavour]
    module, _, name = path.rpartition(".")
    owner = importlib.import_module(module)
    original: Callable[..., Any] = getattr(owner, name)
    counts = [0, 0]
    for i, words in enumerate(("a monster", "two horns")):

        def counted(*args: Any, i: int = i, **kwargs: Any) -> Any:
            counts[i] += 1
            return original(*args, **kwargs)

        with mock.patch.object(owner, name, counted):
            host.generate(SIDE, _hybrid(files.distilled), prompt=f"{words} <lora:{LORA}:1>", seed=i)
    return {"lora_merges_first_image": counts[0], "lora_merges_second_image": counts[1]}


def _hybrid(distilled: Path) -> dict[str, Any]:
    return {"distilled_model": distilled.name, "family": "lcm"}


def generations(host: Host, files: checkpoints.Files) -> Iterator[None]:
    """Requests without end: two distilled models in turn, with and without a LoRA, alone and off, on two bases."""
    requests: tuple[tuple[dict[str, Any], str], ...] = (
        (_hybrid(files.distilled), f"a monster <lora:{LORA}:1>"),
        (_hybrid(files.partly), "a monster"),
        ({**_hybrid(files.distilled), "mode": "distilled"}, f"two horns <lora:{LORA}:0.5>"),
        ({"enabled": False}, "a monster"),
        ({**_hybrid(files.partly), "lora_targets": "base"}, f"a monster <lora:{LORA}:1>"),
    )
    for base in itertools.cycle((files.base, files.partly)):
        host.load(base)
        for arguments, prompt in requests:
            host.generate(SIDE, arguments, prompt=prompt, seed=1)
            yield


def growth(running: Iterator[None], file: Path, count: int, ends: int = ENDS) -> dict[str, float]:
    """Bytes in memory after `count` generations over those before them.

    One reading a turn of all the requests; the first and the last `ends` are compared by their medians, and their
    spread is the noise. What safetensors leaks with every tensor that anybody reads (measured on `file`) is taken off.
    """
    next(itertools.islice(running, TURN - 1, None))
    readings: list[int] = []
    reads: list[int] = []
    with _Reads() as counted:
        for _ in range(ends + -(-count // TURN)):
            next(itertools.islice(running, TURN - 1, None))
            readings.append(_resident())
            reads.append(counted.count)
    first, last = readings[:ends], readings[-ends:]
    noise = max(max(part) - min(part) for part in (first, last))
    measured = statistics.median(last) - statistics.median(first)
    leaked = (statistics.median(reads[-ends:]) - statistics.median(reads[:ends])) * leak_of_a_read(file)
    grown = measured - leaked
    return {
        "bytes_grown_after_200": 0.0 if grown <= noise else grown,
        "bytes_grown_measured": measured,
        "bytes_leaked_by_safetensors": leaked,
        "bytes_grown_noise": noise,
        "bytes_resident": statistics.median(last),
        "generations": float(TURN * (len(readings) - ends)),
    }


class _Reads:
    """Counts the tensors that this process reads from safetensors files."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> _Reads:
        outer, original = self, safetensors.safe_open

        class Counting:
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                self._file = original(*args, **kwargs)

            def __enter__(self) -> Counting:
                self._file.__enter__()
                return self

            def __exit__(self, *error: Any) -> None:
                self._file.__exit__(*error)

            def __getattr__(self, name: str) -> Any:
                return getattr(self._file, name)

            def get_tensor(self, name: str) -> Any:
                outer.count += 1
                return self._file.get_tensor(name)

        self._patches = [
            mock.patch.object(module, "safe_open", Counting) for module in (safetensors, safetensors.torch)
        ]
        for patch in self._patches:
            patch.start()
        return self

    def __exit__(self, *_error: Any) -> None:
        for patch in self._patches:
            patch.stop()


def leak_of_a_read(path: Path) -> float:
    """Bytes that reading one tensor leaves behind: 62 in safetensors 0.4.2, which both hosts pin."""
    count, readings = len(safetensors.torch.load_file(path)), []
    for times in (20, 100):
        for _ in range(times):
            safetensors.torch.load_file(path)
        readings.append(_resident())
    return max(0.0, (readings[1] - readings[0]) / (100 * count))


def _resident() -> int:
    return_free_memory()
    return psutil.Process().memory_info().rss
