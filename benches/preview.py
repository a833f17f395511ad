"""`python -m benches.preview --flavour forge --json FILE`: what the DT-preview costs a generation of one model.

The U-Net is of SD 1.5's size. `panel_live` adds what a page does: another process polls the extension's routes every
400 ms over HTTP and fetches each frame's picture, decoded by a TAESD of the published size.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benches import checkpoints
from benches.apart import HOSTS, parser, tell
from benches.host import Host
from benches.sampling import Calls
from embedded.networks.previews import taesd_decoder
from extension_core.trajectory.frames import Position, Section, Tag
from extension_core.trajectory.recorder import MIB, Recorder

POLL_SECONDS = 0.4
_REQUEST: dict[str, Any] = {"steps": 8, "cfg_scale": 7.0, "sampler_name": "Euler"}


@dataclass
class Times:
    """Seconds of one kind of request.

    Attributes:
        sampling: wall time of its `p.sample`.
        calls: of that, in the U-Net.
        pictures: of frames, that a page fetched.
    """

    sampling: list[float] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)
    pictures: list[int] = field(default_factory=list)

    @property
    def outside(self) -> float:
        """Median of what is not in the U-Net."""
        return statistics.median(whole - calls for whole, calls in zip(self.sampling, self.calls, strict=True))


def run(folder: Path, flavour: str, threads: int | None, rounds: int, size: int, quick: bool) -> dict[str, float]:
    """All figures of one host."""
    files = checkpoints.make(folder / "models", checkpoints.QUICK if quick else checkpoints.FULL)
    host = HOSTS[flavour](files, folder / "data", threads, torch.cuda.is_available())
    _give_taesd()
    with served() as url:
        times = measure(host, size, rounds, url)
    prefix = "" if flavour == "a1111" else f"{flavour}_"
    return {f"{prefix}{name}": value for name, value in figures(times).items()} | bound()


def figures(times: dict[str, Times]) -> dict[str, float]:
    """Ratios of medians.

    The recorder runs between the U-Net's calls and leaves them as they are, so its ratio is of the time outside of
    them, added to one and the same time inside: what else the machine does would hide a hundredth. The page's work
    goes on beside the calls, so its ratio is of whole generations.
    """
    off, on = times["off"], times["recorder"]
    calls = statistics.median([*off.calls, *on.calls])
    return {
        "recorder_on_over_off": (calls + on.outside) / (calls + off.outside),
        "recorder_on_over_off_whole": statistics.median(on.sampling) / statistics.median(off.sampling),
        "panel_live_over_off": statistics.median(
            live / plain for live, plain in zip(times["panel"].sampling, off.sampling, strict=True)
        ),
        "preview_off_seconds": statistics.median(off.sampling),
        "recorder_ms_a_step": 1e3 * (on.outside - off.outside) / _REQUEST["steps"],
        "pictures_a_page_fetched": min(times["panel"].pictures),
    }


def measure(host: Host, size: int, rounds: int, url: str) -> dict[str, Times]:
    """Generations without the preview, with it, and with a page that watches, in turn; the first of each is left out.

    Args:
        size: of the image in pixels.
    """
    times = {kind: Times() for kind in ("off", "recorder", "panel")}
    for i in range(rounds + 1):
        for kind in list(times) if i % 2 == 0 else list(reversed(times)):
            _generate(host, size, kind, url, times[kind] if i > 0 else Times())
    return times


def _generate(host: Host, size: int, kind: str, url: str, times: Times) -> None:
    identifier = secrets.token_urlsafe(24)
    preview: Any = False if kind == "off" else {"id": identifier}
    page = None
    with contextlib.ExitStack() as stack:
        calls = stack.enter_context(Calls(host.unets()))
        if kind == "panel":
            page = stack.enter_context(watching(f"{url}/{identifier}"))
        seconds = host.generate(size, {"enabled": False, "dt": preview}, **_REQUEST)
        if page is not None:
            times.pictures.append(pictures_of(page))
    times.sampling.append(seconds.wall)
    times.calls.append(calls.seconds.wall)


@contextlib.contextmanager
def watching(url: str) -> Iterator[subprocess.Popen[str]]:
    """A page that watches one recording until `pictures_of` is asked; ended in any case."""
    command = [sys.executable, "-m", "benches.page", url, str(POLL_SECONDS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as page:
        try:
            yield page
        finally:
            page.kill()


def pictures_of(page: subprocess.Popen[str]) -> int:
    """Tell a page that its generation is over; returns how many pictures it fetched.

    Raises:
        RuntimeError: the page met what it could not work with; it has said so on standard error.
    """
    fetched, _ = page.communicate()
    if page.returncode:
        raise RuntimeError(f"the page that watches ended with {page.returncode}")
    return int(fetched)


@contextlib.contextmanager
def served() -> Iterator[str]:
    """The extension's routes on a server of their own; gives their address."""
    import uvicorn
    from fastapi import FastAPI

    from extension_core.hosts.common.preview.frame_routes import PREFIX, add_routes

    app = FastAPI()
    add_routes(app)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", log_level="warning"))
    with socket.socket() as listening:  # from here on questions wait in the system until the server takes them
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        thread = threading.Thread(target=server.run, args=[[listening]], daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}{PREFIX}/dt"
        finally:
            server.should_exit = True
            thread.join(60)


def _give_taesd() -> None:
    """The host's TAESD, as large as the published one, with random numbers."""
    from modules import paths

    target = Path(paths.models_path) / "VAE-taesd" / "taesd_decoder.pth"
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save(taesd_decoder().state_dict(), target)


def bound() -> dict[str, float]:
    """What a recording of 64 images of 1024 pixels in 50 steps holds, with all three predictions and without."""
    held = {}
    for name, kinds in (("guided", 1), ("all_predictions", 3)):
        recorder, latents = Recorder(), torch.zeros(64, 4, 128, 128, dtype=torch.float16)
        for step in range(50):
            tag = Tag(Section("first pass"), Position(step, 50, 0.0, 0.0), "", 1.0, "")
            recorder.add(tag, *[latents] * kinds)
        held[f"recording_64x50_{name}_mib"] = recorder.nbytes / MIB
    return held


def main() -> int:
    """Measure, print, write."""
    arguments = parser("benches.preview", __doc__, "a U-Net of a tenth of the width")
    arguments.add_argument("--rounds", type=int, default=5, help="repeats (default: 5)")
    arguments.add_argument("--size", type=int, default=256, help="side of the image in pixels (default: 256)")
    options = arguments.parse_args()
    lengths = (options.rounds, options.size, options.quick)
    return tell(options.json, lambda folder: run(folder, options.flavour, options.threads, *lengths))


if __name__ == "__main__":
    sys.exit(main())
