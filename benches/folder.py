"""`python -m benches.folder --json FILE`: a folder of 300 checkpoints and 5,000 LoRAs, with the extension and without.

The files are tiny, each with a header as trainers write it; what is measured is looking through them. The host runs as
users run it, a process with its page, whose files are in the system's cache. `--make DIR` writes the files alone, for a
WebUI that you start yourself with them; `--url URL --distilled NAME` asks that one.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors.torch import load_file, save

from benches.apart import parser, tell
from benches.parts import _group
from embedded.distill.export import random_checkpoint

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
    (folder / "models").mkdir(parents=True)
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


@dataclass(frozen=True)
class Start:
    """How a host is started.

    Attributes:
        folder: with the models, and for everything that it writes.
        config: the yaml of its two real checkpoints.
    """

    flavour: str
    folder: Path
    config: Path
    port: int


@contextlib.contextmanager
def running(start: Start, *extra: str) -> Iterator[tuple[str, Clock, tuple[float, float]]]:
    """(URL of a host with this folder, its clock, its times until it answered)."""
    folder = start.folder
    command = [sys.executable, "-m", "embedded", "--flavour", start.flavour, "--port", str(start.port)]
    command += ["--default-config", str(start.config)]
    command += ["--ckpt", str(folder / "models" / "pair_base.safetensors")]
    command += ["--ckpt-dir", str(folder / "models"), "--lora-dir", str(folder / "Lora")]
    command += ["--data-dir", str(folder / f"data{''.join(extra)}"), "--extensions", str(folder / "none"), *extra]
    began = time.perf_counter()
    with (folder / "log").open("w") as log, _group(command, _environment(), log) as process:
        url = f"http://127.0.0.1:{start.port}"
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
    """Time of one process, as it goes by and of the processor, which other programs lengthen less; and its memory."""

    def __init__(self, process: int | None) -> None:
        """None for a process of another machine or user, of which only the time that goes by is known."""
        self._process = None if process is None else psutil.Process(process)

    def now(self) -> tuple[float, float]:
        """Both by now, in seconds."""
        if self._process is None:
            return time.perf_counter(), 0.0
        used = self._process.cpu_times()
        return time.perf_counter(), used.user + used.system

    def mib(self) -> float:
        """What it holds in memory by now."""
        return 0.0 if self._process is None else self._process.memory_info().rss / 2**20

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


def measure(flavour: str, folder: Path, port: int, quick: bool) -> dict[str, float]:
    """All figures: `plain` is the host alone."""
    config = make(folder, *((QUICK, QUICK) if quick else (LORAS, CHECKPOINTS)))
    begin = Start(flavour, folder, config, port)
    figures: dict[str, float] = {}
    for name, extra in (("plain", ("--without-self",)), ("ours", ())):
        for start in ("second",) if quick else ("first", "second"):  # the host notes what it has read of files
            with running(begin, *extra) as (url, clock, started):
                figures |= told(f"{name}_{start}_start", started)
                if start == "second":
                    figures[f"{name}_mib_started"] = clock.mib()
                    for what, taken in _answers(url, clock, "pair_distilled" if name == "ours" else None).items():
                        figures |= told(f"{name}_{what}", taken)
                    figures[f"{name}_mib"] = clock.mib()
    return figures


def asked(url: str, process: int | None, distilled: str) -> dict[str, float]:
    """The answers of a WebUI that runs already, with the extension or without."""
    clock = Clock(process)
    scripts = json.loads(call(f"{url}/sdapi/v1/scripts")[1])["txt2img"]
    name = "ours" if _TITLE.lower() in (title.lower() for title in scripts) else "plain"
    figures = {f"{name}_mib_started": clock.mib()}
    for what, taken in _answers(url, clock, distilled if name == "ours" else None).items():
        figures |= told(f"{name}_{what}", taken)
    return {**figures, f"{name}_mib": clock.mib()}


def _answers(url: str, clock: Clock, ours: str | None) -> dict[str, tuple[float, float]]:
    """What each thing takes; `ours` is a distilled model for the loaded checkpoint, None without the extension."""
    base: dict[str, Any] = {
        "prompt": "a cat",
        "steps": 4,
        "width": 64,
        "height": 64,
        "sampler_name": "Euler",
        "seed": 1,
    }
    settings = {"distilled_model": ours, "family": "custom"}
    scripts = {_TITLE: {"args": [settings]}} if ours else {}
    figures = {"page": clock.answer(lambda: call(url)), "page_again": clock.answer(lambda: call(url))}
    if ours:
        figures["models_cold"] = clock.answer(lambda: call(f"{url}{_PREFIX}/models"))
        figures["models_warm"] = clock.answer(lambda: call(f"{url}{_PREFIX}/models"))
    send = lambda **more: call(f"{url}/sdapi/v1/txt2img", {**base, **more})  # noqa: E731
    figures["first_request"] = clock.answer(lambda: send(alwayson_scripts=scripts))
    figures["second_request"] = clock.answer(lambda: send(alwayson_scripts=scripts))
    paste = lambda: call(f"{url}/sdapi/v1/txt2img", {"infotext": _GONE, "styles": []})  # noqa: E731
    figures["paste_of_an_unknown_hash"] = clock.answer(paste, 422 if ours else 200)
    if ours:
        plan = lambda **more: call(f"{url}{_PREFIX}/plan", {"args": [{**settings, **more}]})  # noqa: E731
        figures["plan"] = clock.answer(plan)
        figures["plan_of_an_unknown_name"] = clock.answer(lambda: plan(distilled_model="gone since"), 422)
    for what in ("checkpoints", "loras"):
        figures[f"refresh_{what}"] = clock.answer(lambda what=what: call(f"{url}/sdapi/v1/refresh-{what}", {}))
    if ours:
        figures["models_after_a_refresh"] = clock.answer(lambda: call(f"{url}{_PREFIX}/models"))
    return figures


def main() -> int:
    """Measure, print, write."""
    made = parser("benches.folder", __doc__, f"{QUICK} files of each kind and one start")
    made.add_argument("--port", type=int, default=7867, help="a free port (default: 7867)")
    made.add_argument("--make", type=Path, metavar="DIR", help="write the files there and end")
    made.add_argument("--url", help="ask this running WebUI, which lists such files, and start none")
    made.add_argument("--pid", type=int, help="its process, if its processor time and memory are to be told")
    made.add_argument("--distilled", default="pair_distilled", help="its distilled model (default: pair_distilled)")
    options = made.parse_args()
    if options.make is not None:
        make(options.make, *((QUICK, QUICK) if options.quick else (LORAS, CHECKPOINTS)))
        return 0
    if options.url is not None:
        return tell(options.json, lambda _folder: asked(options.url.rstrip("/"), options.pid, options.distilled))
    return tell(options.json, lambda folder: measure(options.flavour, folder, options.port, options.quick))


if __name__ == "__main__":
    sys.exit(main())
