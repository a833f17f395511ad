"""The benchmark runs from end to end, on a U-Net of a tenth of the width."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from benches import __main__ as bench
from benches import checkpoints
from benches.folder import QUICK
from benches.page import Unwell, watch
from benches.parts import PartFailed, _group, _show_where_it_stands, figures_of
from benches.targets import AT_LEAST, AT_MOST, EXACTLY, table
from embedded.networks import UNetModel
from tests.e2e.embedded_host import free_port
from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
TARGETS = {**AT_MOST, **AT_LEAST, **EXACTLY}


def quick_figures(flavour: str, folder: Path) -> dict[str, Any]:
    """By the command that the README names, in a short form."""
    target = folder / "bench.json"
    command = [sys.executable, "run.py", "bench", "--json", str(target), "--quick", "--threads", "1"]
    done = subprocess.run([*command, "--flavour", flavour], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    figures = json.loads(target.read_text())
    numbers = [value for value in figures.values() if isinstance(value, (int, float))]
    assert all(map(math.isfinite, numbers))
    assert figures["quick"] is True
    assert figures["failed_parts"] == []
    assert all(name in done.stdout for name in figures)
    return figures


def check_keeping(figures: dict[str, Any], prefix: str) -> None:
    """The ratios by processor time: the tests share their cores with other suites."""
    assert figures[f"{prefix}lora_merges_first_image"] > 0
    assert figures[f"{prefix}lora_merges_second_image"] == 0
    assert figures[f"{prefix}generations"] == 10
    assert figures[f"{prefix}base_over_hybrid_cpu"] > 5
    assert 0.3 < figures[f"{prefix}hybrid_over_distilled_cpu"] < 3
    assert figures[f"{prefix}bytes_grown_after_200"] <= max(figures[f"{prefix}bytes_grown_measured"], 0) + 1


def check_preview(figures: dict[str, Any], prefix: str) -> None:
    """Ratios of such small U-Nets beside other suites say nothing; that all was measured and recorded does."""
    assert {f"{prefix}{name}" for name in ("recorder_on_over_off", "panel_live_over_off")} <= set(figures)
    assert figures[f"{prefix}pictures_a_page_fetched"] == 8
    assert 0 < figures["recording_64x50_guided_mib"] < figures["recording_64x50_all_predictions_mib"] <= 512


@pytest.mark.forge
def test_a_quick_part_on_forge(tmp_path: Path) -> None:
    """The others are for `--slow`: what they measure with is the same on both hosts."""
    target = tmp_path / "hybrid.json"
    command = [sys.executable, "-m", "benches.hybrid", "--flavour", "forge", "--quick", "--threads", "1"]
    done = subprocess.run(
        [*command, "--rounds", "1", "--size", "64", "--json", str(target)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    figures = json.loads(target.read_text())
    assert figures["forge_unet_calls"] == 4
    assert figures["forge_hybrid_over_own_calls"] > 1.0


@pytest.mark.slow
@pytest.mark.forge
def test_quick_benchmark_on_forge(tmp_path: Path) -> None:
    figures = quick_figures("forge", tmp_path)
    assert {name for name in TARGETS if name.startswith("forge_")} <= set(figures)
    assert figures["forge_unet_calls"] == 4
    assert figures["forge_hybrid_over_own_calls"] > 1.0
    assert figures["forge_second_load_seconds"] > 0
    assert figures["forge_switch_ms"] < 100
    check_keeping(figures, "forge_")
    check_preview(figures, "forge_")


@pytest.mark.a1111
def test_quick_benchmark(tmp_path: Path) -> None:
    figures = quick_figures("a1111", tmp_path)
    assert {name for name in TARGETS if not name.startswith("forge_")} <= set(figures)
    assert figures["unet_calls"] == 4
    assert figures["extra_bytes_over_differing_bytes"] == 1.0
    assert 0 < figures["extra_tensors"] == figures["differing_tensors"] < figures["exchange_tensors"]
    assert figures["hybrid_over_own_calls"] > 1.0
    check_keeping(figures, "")
    check_preview(figures, "")


@pytest.mark.a1111
def test_quick_bench_of_a_large_folder(tmp_path: Path) -> None:
    """Times say nothing beside other tests; that every answer was the one to come, and was timed, does."""
    target, flavour = tmp_path / "folder.json", os.environ.get("DD_FLAVOUR", "a1111")
    command = [sys.executable, "-m", "benches.folder", "--quick", "--port", str(free_port()), "--json", str(target)]
    command += ["--flavour", flavour]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    figures = json.loads(target.read_text())
    both = ("second_start", "page", "first_request", "paste_of_an_unknown_hash", "refresh_checkpoints", "refresh_loras")
    for what in both:
        assert min(figures[f"{name}_{what}_seconds"] for name in ("plain", "ours")) > 0
    for what in ("models_cold", "models_warm", "models_after_a_refresh", "plan", "plan_of_an_unknown_name"):
        assert figures[f"ours_{what}_cpu_seconds"] >= 0
    assert min(figures[f"{name}_mib"] for name in ("plain", "ours")) > 100


@pytest.mark.once
def test_a_large_folder_for_a_webui_of_ones_own(tmp_path: Path) -> None:
    """Its files alone; what asks such a WebUI runs in tests/embedded/test_commands.py."""
    command = [sys.executable, "-m", "benches.folder", "--quick", "--make", str(tmp_path / "many")]
    subprocess.run(command, cwd=ROOT, check=True)
    assert len(list((tmp_path / "many" / "models").rglob("*.safetensors"))) == QUICK
    assert len(list((tmp_path / "many" / "Lora").rglob("*.safetensors"))) == QUICK


GROWING = """
import json, sys
import torch
from pathlib import Path
from safetensors.torch import load_file
from benches import keeping

path, kept, keeper = Path(sys.argv[1]), int(sys.argv[2]), []

def generations():
    while True:
        keeper.append(torch.ones(kept, dtype=torch.uint8))
        load_file(path)
        yield

print(json.dumps(keeping.growth(generations(), path, 100)))
"""


@pytest.mark.once
@pytest.mark.parametrize("kept", [0, 1 << 20])
def test_growth_sees_what_is_kept(tmp_path: Path, kept: int) -> None:
    """A mebibyte a generation shows; what safetensors leaks with every tensor read does not.

    In a process of its own: the tests' has free memory that takes up small leaks.
    """
    path = tmp_path / "some.safetensors"
    save_file({f"tensor {i}": torch.zeros(4, 4) for i in range(400)}, path)
    command = [sys.executable, "-c", GROWING, str(path), str(kept)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-4000:]
    measured = json.loads(done.stdout)
    assert measured["bytes_leaked_by_safetensors"] > 0
    assert measured["bytes_grown_after_200"] == (pytest.approx(100 * kept, rel=0.1) if kept else 0)


def test_files_differ_where_they_say(tmp_path: Path) -> None:
    files = checkpoints.make(tmp_path, checkpoints.QUICK)
    base, distilled, partly = (load_file(path) for path in (files.base, files.distilled, files.partly))
    unet = {name for name in base if name.startswith(checkpoints.UNET)}
    attention = {name for name in unet if ".attn" in name}

    def differing(other: dict) -> set[str]:
        return {name for name in base if not np.array_equal(base[name].numpy(), other[name].numpy())}

    assert differing(distilled) == unet
    assert differing(partly) == attention
    counted = checkpoints.differing_unet_numbers(files.base, files.partly)
    assert counted == (len(attention), sum(base[name].numel() for name in attention))


def test_full_size_is_that_of_sd15() -> None:
    """859,520,964 parameters in 686 tensors, as in the published file."""
    with torch.device("meta"):
        unet = UNetModel(**checkpoints.FULL.unet_params())
    parameters = list(unet.parameters())
    assert (len(parameters), sum(value.numel() for value in parameters)) == (686, 859_520_964)


def test_table_tells_what_is_missed() -> None:
    lines = table({**TARGETS, "second_load_over_host_load": 1.5, "torch": "2"}).splitlines()
    assert "MISSED" in next(line for line in lines if line.startswith("second_load_over_host_load"))
    assert sum("met" in line for line in lines) == len(TARGETS) - 1


def test_extra_bytes_must_be_exact() -> None:
    assert "MISSED" in table({"extra_bytes_over_differing_bytes": 0.5})
    assert "MISSED" not in table({"extra_bytes_over_differing_bytes": 0.5, "quick": True})


PARTS = {
    "good": "import json, sys; open(sys.argv[-1], 'w').write(json.dumps({'figure': 2.0}))",
    "failing": "raise SystemExit(4)",
    "silent": "",
    "endless": "import signal; signal.pause()",
}


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Writes a module of this content and gives its name."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def written(content: str) -> str:
        name = f"part_{len(list(tmp_path.glob('part_*')))}"
        (tmp_path / f"{name}.py").write_text(content)
        return name

    return written


@pytest.mark.once
@pytest.mark.parametrize(
    ("content", "seconds", "said"),
    [
        (PARTS["failing"], 300, "part_0 ended with 4; its own words are above"),
        (PARTS["silent"], 300, "part_0 ended well and wrote no figures"),
        (PARTS["endless"], 1, "part_0 did not end within 1 seconds and was ended"),
    ],
)
def test_a_part_without_figures_says_why(
    tmp_path: Path, part: Callable[[str], str], content: str, seconds: float, said: str
) -> None:
    with pytest.raises(PartFailed, match=f"^{said}$"):
        figures_of(part(content), [], tmp_path, seconds)


@pytest.mark.once
def test_a_part_leaves_nothing_running(tmp_path: Path, part: Callable[[str], str]) -> None:
    """What a page does that polls for ever."""
    content = (
        "import pathlib, subprocess, sys\n"
        "other = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(other.pid))\n"
        "raise SystemExit(1)"
    )
    with pytest.raises(PartFailed):
        figures_of(part(content), [], tmp_path, 300)
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int((tmp_path / "pid").read_text())).wait(PATIENCE)


@pytest.mark.once
def test_a_part_that_hangs_shows_where(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = "import signal, sys\ndef stands_here(): print(flush=True); signal.pause()\nstands_here()"
    with _group(
        [sys.executable, "-X", "faulthandler", "-c", code], dict(os.environ), stdout=subprocess.PIPE
    ) as hanging:
        hanging.stdout.readline()
        _show_where_it_stands(hanging)
    assert "in stands_here" in capfd.readouterr().err


@pytest.mark.once
def test_the_others_figures_are_kept(
    tmp_path: Path, part: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    parts = [bench.Part(part(PARTS[name])) for name in ("failing", "good", "silent")]
    monkeypatch.setattr(bench, "parts", lambda _options: parts)
    monkeypatch.setattr(sys, "argv", ["benches", "--json", str(tmp_path / "b.json")])
    assert bench.main() == 1
    figures = json.loads((tmp_path / "b.json").read_text())
    assert figures["figure"] == 2.0
    assert [failed.split()[0] for failed in figures["failed_parts"]] == ["part_0", "part_2"]
    printed = capfd.readouterr()
    assert "figure" in printed.out
    assert "bench: part_0 ended with 4; its own words are above (on the a1111 flavour)" in printed.err


class _Recording(BaseHTTPRequestHandler):
    """Answers as the preview's routes: what `server.script` says, in turn, its last again and again."""

    server: Any

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        script = self.server.script
        status, body = script.pop(0) if len(script) > 1 else script[0]
        if "/frames/" in self.path and status == 200:
            body = {}
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _told(state: str, *frames: int) -> tuple[int, dict[str, Any]]:
    return 200, {"cursor": 9, "state": state, "frames": [{"number": number, "images": 2} for number in frames]}


@pytest.mark.once
@pytest.mark.parametrize(
    ("script", "over", "fetched"),
    [
        ([(404, {}), (404, {}), _told("running", 0), (200, {}), (200, {}), _told("done")], False, 2),
        ([_told("running", 0), (202, {}), (429, {}), _told("done", 1), *[(200, {})] * 4, _told("done")], False, 4),
        ([(404, {})], True, "answers 404"),
        ([(500, {})], False, "answers 500"),
        ([(401, {})], False, "answers 401"),
        ([_told("running", 0), (500, {})], False, r"0\.jpg\?side=256 answers 500"),
        ([_told("running")], True, "no end after 300 questions more"),
    ],
)
def test_a_page_of_the_bench_always_ends(script: list[Any], over: bool, fetched: int | str) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Recording)
    server.script = script
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ended = threading.Event()
    if over:
        ended.set()
    url = f"http://127.0.0.1:{server.server_address[1]}/dt/id"
    try:
        if isinstance(fetched, str):
            with pytest.raises(Unwell, match=fetched):
                watch(url, 0.0, ended)
        else:
            assert watch(url, 0.0, ended) == fetched
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.once
def test_a_study_that_was_ended_goes_on_where_it_was(tmp_path: Path) -> None:
    """In a short form: students of eight updates, by the command that docs/training.md names."""
    command = [sys.executable, "run.py", "python", "-m", "benches.ddil", "--out", str(tmp_path), "--rows", "6000"]
    command += ["--methods", "pd", "dmd2", "--seeds", "1"]

    def study(*arms: str) -> list[dict[str, Any]]:
        done = subprocess.run([*command, "--arms", *arms], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        assert (tmp_path / "table.md").read_text().count("\n") == 2 + len(arms) * 2
        return [json.loads(line) for line in (tmp_path / "students.jsonl").read_text().splitlines()]

    first = study("plain")
    both = study("plain", "+ both")
    assert both[:2] == first
    assert [(row["method"], row["arm"]) for row in both[2:]] == [("pd", "+ both"), ("dmd2", "+ both")]
    for row in both:
        assert 6000 <= row["rows"] < 6000 + 8 * 256
        assert 0 < row["coverage"] <= 1
        assert len(row["shift"]) == 4
