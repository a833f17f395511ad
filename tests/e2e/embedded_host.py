"""Starts the embedded WebUI with small random checkpoints, for the tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import PATIENCE, until

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running_embedded(folder: Path, *extra: str) -> Iterator[str]:
    """URL of an embedded WebUI with random pairs, what goes with them and the faults extension; stopped on leaving."""
    from tests.e2e.checkpoints import make_pairs
    from tests.e2e.forms import make_forms

    config = make_pairs(folder)
    models, unets = folder / "models", folder / "data" / "models" / "unet"
    pair = (models / "tiny_base.safetensors", models / "tiny_distilled.safetensors")
    make_forms(*pair, config, models, unets, folder / "Lora")
    shutil.copytree(ROOT / "tests" / "e2e" / "faults", folder / "extensions" / "faults", dirs_exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "embedded", "--flavour", os.environ.get("DD_FLAVOUR", "a1111")]
    command += ["--port", str(port), "--ckpt-dir", str(folder / "models"), "--lora-dir", str(folder / "Lora")]
    command += [
        "--default-config",
        str(config),
        "--data-dir",
        str(folder / "data"),
        "--extensions",
        str(folder / "extensions"),
        *extra,
    ]
    log = (folder / "webui.log").open("w")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(process, url, folder / "webui.log")
        yield url
    finally:
        ended(process)
        log.close()


def ended(process: subprocess.Popen[bytes]) -> None:
    """End it, by force where it takes no notice."""
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(PATIENCE)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    def said() -> str:
        return f"the embedded WebUI did not start:\n{log.read_text()[-4000:]}"

    def answers() -> bool:
        assert process.poll() is None, said()
        if "Startup time:" in log.read_text():
            with contextlib.suppress(urllib.error.URLError):  # without a page that is said before it listens
                urllib.request.urlopen(url + "/sdapi/v1/samplers", timeout=PATIENCE).close()
                return True
        return False

    until(answers, said)
