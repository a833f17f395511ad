"""`python -m benches.folder --json FILE`: a folder of 300 checkpoints and 5,000 LoRAs, with the extension and without.

The files are tiny, each with a header as trainers write it; what is measured is looking through them. The host runs as
users run it, a process with its page, whose files are in the system's cache.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors.torch import load_file, save

from benches.apart import parser, tell
from benches.parts import _group
from extension_core.distill.export import random_checkpoint

LORAS, CHECKPOINTS = 5_000, 300
QUICK = 40
_TITLE = "Diversity Distillation"
_PREFIX = "/diversity-distillation/v1"
_ROOT = Path(__file__).resolve().parents[1]
_PATIENCE = 900  # seconds for one answer
_GONE = (
    "a cat\nSteps: 4, Sampler: Euler, Schedule type: Automatic, CFG scale: 1, Seed: 1, Size: 64x64, "
    "DD distilled model: gone since, DD distilled model hash: 0123456789, DD mode: hybrid"
)


def make(folder: Path, loras: int, checkpoints: int) -> Path:
    """The folder; returns the yaml of the two checkpoints that are models. Of the others only headers are looked at."""
    base = random_checkpoint(folder / "pair" / "pair_base.safetensors", seed=1)
    distilled = random_checkpoint(folder / "pair" / "pair_distilled.safetensors", seed=2, shared_with=base)
    (folder / "models").mkdir()
    for path in (base, distilled):
        shutil.copy(path, folder / "models" / path.name)
    shapes = {key: tensor for key, tensor in load_file(base).items() if tensor.ndim < 2}
    for number in range(checkpoints - 2):
        path = folder / "models" / f"kind {number % 12}" / f"model {number:04d}.safetensors"
        _write(path, shapes, {"modelspec.title": f"model {number}", "modelspec.architecture": "stable-diffusion-v1"})
    names = [key.removeprefix("model.").replace(".", "_") for key in list(shapes)[:100]]
    layers = {
        f"lora_unet_{name}.{part}": torch.zeros(1, 1)
        for name in names
        for part in ("lora_down.weight", "lora_up.weight")
    }
    for number in range(loras):
        path = folder / "Lora" / f"kind {number % 40}" / f"style {number:05d}.safetensors"
        tags = json.dumps({"10_style": {f"tag {tag}": tag for tag in range(200)}})
        _write(path, layers, {"ss_output_name": f"style_{number}", "ss_steps": str(number), "ss_tag_frequency": tags})
    return base.with_suffix(".yaml")


def _write(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(save(tensors, metadata=metadata))


def call(url: str, payload: dict[str, Any] | None = None) -> tuple[int, bytes]:
    """Status and body of a GET, or of a POST where there is a payload."""
    data = None if payload is None else json.dumps(payload).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - the bench's own
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@contextlib.contextmanager
def running(folder: Path, config: Path, port: int, *extra: str) -> Iterator[tuple[str, Clock, tuple[float, float]]]:
    """(URL of a host with this folder, its clock, its times until it answered)."""
    command = [sys.executable, "-m", "extension_core.embedded", "--port", str(port), "--default-config", str(config)]
    command += ["--ckpt", str(folder / "models" / "pair_base.safetensors")]
    command += ["--ckpt-dir", str(folder / "models"), "--lora-dir", str(folder / "Lora")]
    command += ["--data-dir", str(folder / f"data{''.join(extra)}"), "--extensions", str(folder / "none"), *extra]
    began = time.perf_counter()
    with (folder / "log").open("w") as log, _group(command, _environment(), log) as process:
        url = f"http://127.0.0.1:{port}"
        _wait_for(process, url, folder / "log")
        clock = Clock(process.pid)
        yield url, clock, clock.since((began, 0.0))


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(_ROOT)}


def _wait_for(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    while True:
        if process.poll() is not None:
            raise SystemExit(f"The embedded WebUI ended with {process.returncode}.")
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            if "Startup time:" in log.read_text() and call(f"{url}/sdapi/v1/samplers")[0] == 200:
                return
        time.sleep(0.1)


class Clock:
    """Time of one process: as it goes by, and of the processor, which other programs lengthen less."""

    def __init__(self, process: int) -> None:
        self._process = psutil.Process(process)

    def now(self) -> tuple[float, float]:
        """Both by now, in seconds."""
        used = self._process.cpu_times()
        return time.perf_counter(), used.user + used.system

    def since(self, before: tuple[float, float]) -> tuple[float, float]:
        """Both since then."""
        now = self.now()
        return now[0] - before[0], now[1] - before[1]

    def answer(self, act: Callable[[], tuple[int, bytes]], wanted: int = 200) -> tuple[float, float]:
        """Both that an answer of this status took."""
        before = self.now()
        status, body = act()
        taken = self.since(before)
        if status != wanted:
            raise SystemExit(f"HTTP {status} where {wanted} was to come: {body[:500]!r}")
        return taken


def told(name: str, taken: tuple[float, float]) -> dict[str, float]:
    """The figures of one thing."""
    return {f"{name}_seconds": taken[0], f"{name}_cpu_seconds": taken[1]}


def measure(folder: Path, port: int, quick: bool) -> dict[str, float]:
    """All figures: `plain` is the host alone."""
    config = make(folder, *((QUICK, QUICK) if quick else (LORAS, CHECKPOINTS)))
    figures: dict[str, float] = {}
    for name, extra in (("plain", ("--without-self",)), ("ours", ())):
        for start in ("second",) if quick else ("first", "second"):  # the host notes what it has read of files
            with running(folder, config, port, *extra) as (url, clock, started):
                figures |= told(f"{name}_{start}_start", started)
                if start == "second":
                    for what, taken in _answers(url, clock, name == "ours").items():
                        figures |= told(f"{name}_{what}", taken)
    return figures


def _answers(url: str, clock: Clock, ours: bool) -> dict[str, tuple[float, float]]:
    base: dict[str, Any] = {
        "prompt": "a cat",
        "steps": 4,
        "width": 64,
        "height": 64,
        "sampler_name": "Euler",
        "seed": 1,
    }
    scripts = {_TITLE: {"args": [{"distilled_model": "pair_distilled", "family": "custom"}]}} if ours else {}
    figures = {"page": clock.answer(lambda: call(url)), "page_again": clock.answer(lambda: call(url))}
    if ours:
        figures["models_cold"] = clock.answer(lambda: call(f"{url}{_PREFIX}/models"))
        figures["models_warm"] = clock.answer(lambda: call(f"{url}{_PREFIX}/models"))
    send = lambda **more: call(f"{url}/sdapi/v1/txt2img", {**base, **more})  # noqa: E731
    figures["first_request"] = clock.answer(lambda: send(alwayson_scripts=scripts))
    figures["second_request"] = clock.answer(lambda: send(alwayson_scripts=scripts))
    figures["paste_of_an_unknown_hash"] = clock.answer(
        lambda: call(f"{url}/sdapi/v1/txt2img", {"infotext": _GONE, "styles": []}), 422 if ours else 200
    )
    return figures


def main() -> int:
    """Measure, print, write."""
    made = parser("benches.folder", __doc__, f"{QUICK} files of each kind and one start")
    made.add_argument("--port", type=int, default=7867, help="a free port (default: 7867)")
    options = made.parse_args()
    return tell(options.json, lambda folder: measure(folder, options.port, options.quick))


if __name__ == "__main__":
    sys.exit(main())
