"""`python -m benches.keeping --flavour forge --json FILE`: what stays between images, in memory and merged.

On a U-Net of a tenth of the width, whose 200 generations take minutes and whose sizes still show: every model that is
not let go would add its 30 MiB and more each time.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import safetensors
import safetensors.torch
import torch

from benches import checkpoints
from benches.a1111 import A1111
from benches.forge import Forge
from benches.host import Host
from benches.timing import return_free_memory
from extension_core.distill.export import build_model
from extension_core.distill.low_rank import UnetLora

HOSTS: dict[str, type[Host]] = {"a1111": A1111, "forge": Forge}
# What each host calls for every layer that it puts networks into.
MERGING = {
    "a1111": "networks.network_restore_weights_from_backup",
    "forge": "backend.patcher.lora.merge_lora_to_weight",
}
SIDE = 64
GENERATIONS = 200
TARGETS = {
    f"{prefix}{name}": 0.0
    for prefix in ("", "forge_")
    for name in ("lora_merges_second_image", "bytes_grown_after_200")
}
TURN = 10
SIDES = 3
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


def growth(running: Iterator[None], file: Path, count: int) -> dict[str, float]:
    """Bytes in memory after `count` generations over those before them.

    One reading a turn of all the requests; the first and the last three are compared by their medians, and their spread
    is the noise. What safetensors leaks with every tensor that anybody reads (measured on `file`) is taken off.
    """
    next(itertools.islice(running, TURN - 1, None))
    readings: list[int] = []
    reads: list[int] = []
    with _Reads() as counted:
        for _ in range(SIDES + -(-count // TURN)):
            next(itertools.islice(running, TURN - 1, None))
            readings.append(_resident())
            reads.append(counted.count)
    first, last = readings[:SIDES], readings[-SIDES:]
    noise = max(max(part) - min(part) for part in (first, last))
    measured = statistics.median(last) - statistics.median(first)
    leaked = (statistics.median(reads[-SIDES:]) - statistics.median(reads[:SIDES])) * leak_of_a_read(file)
    grown = measured - leaked
    return {
        "bytes_grown_after_200": 0.0 if grown <= noise else grown,
        "bytes_grown_measured": measured,
        "bytes_leaked_by_safetensors": leaked,
        "bytes_grown_noise": noise,
        "bytes_resident": statistics.median(last),
        "generations": float(TURN * (len(readings) - SIDES)),
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


def run(folder: Path, flavour: str, threads: int | None, count: int) -> dict[str, float]:
    """All figures of one host."""
    files = checkpoints.make(folder / "models", checkpoints.QUICK)
    make_lora(folder / "data" / "models" / "Lora", folder / "models")
    host = HOSTS[flavour](files, folder / "data", threads)
    prefix = "" if flavour == "a1111" else f"{flavour}_"
    return {
        f"{prefix}{name}": value
        for name, value in {**merges(host, files), **growth(generations(host, files), files.base, count)}.items()
    }


def run_apart(flavour: str, threads: int | None, count: int) -> dict[str, float]:
    """`run` in a process of its own, for there is one host a process."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "keeping.json"
        command = [sys.executable, "-m", "benches.keeping", "--flavour", flavour, "--json", str(target)]
        command += ["--generations", str(count), *(["--threads", str(threads)] if threads else [])]
        subprocess.run(command, check=True, stdout=sys.stderr)
        return json.loads(target.read_text(encoding="utf-8"))


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benches.keeping", description=__doc__)
    parser.add_argument("--flavour", choices=HOSTS, default="a1111", help="the host to be like (default: a1111)")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--threads", type=int, help="torch's threads (default: torch's own choice)")
    parser.add_argument("--generations", type=int, default=GENERATIONS, help=f"images (default: {GENERATIONS})")
    options = parser.parse_args()
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory(prefix="bench") as folder:
        figures = run(Path(folder), options.flavour, options.threads, options.generations)
    print("\n".join(f"{name}  {value:.0f}" for name, value in figures.items()))
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
