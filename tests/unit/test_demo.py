"""The demo against a small HTTP server that answers like a WebUI with monsters drawn on the spot."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from embedded.demo import compared
from embedded.demo.__main__ import demo
from embedded.demo.client import DemoError, WebUI, infotext_total
from embedded.demo.modes import MODES, SCRIPT
from embedded.demo.residency import IN_8_BITS
from embedded.demo.transfer import STRENGTHS, Pictures, change, control_table, transfer
from embedded.distill.control import CONTROLS, CUSTOM, ROLES, file_name
from embedded.monsters import draw, from_labels, parse_prompt, sample_attributes
from extension_core.options.hybrid import Options
from extension_core.options.positions import Arguments

SCARCE = {"hybrid": {"body": "round"}, "distilled": {"body": "round", "background": "sea", "mouth": "smile"}}


class _Handler(BaseHTTPRequestHandler):
    """Keeps the checkpoint in `server.state`; modes of the extension draw less varied monsters than the base."""

    server: Any

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _answer(self, content: Any, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        state = self.server.state
        answers = {
            "/sdapi/v1/sd-models": [
                {"model_name": name, "title": f"{name}.safetensors [0]"} for name in state["models"]
            ],
            "/sdapi/v1/script-info": [{"name": name, "is_img2img": False} for name in state["scripts"]],
            "/sdapi/v1/loras": [{"name": name} for name in state["loras"]],
            "/sdapi/v1/options": {"sd_model_checkpoint": state["checkpoint"]},
        }
        self._answer(answers[self.path])

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/sdapi/v1/options":
            self.server.state["checkpoint"] = request["sd_model_checkpoint"]
            self.server.state["loads"].append(request["sd_model_checkpoint"])
            self._answer(None)
        elif self.server.state["refuse"]:
            self._answer({"detail": "the distilled model is truncated"}, 422)
        else:
            self._answer(_generate(request))


def _generate(request: dict[str, Any]) -> dict[str, Any]:
    extension = request.get("alwayson_scripts")
    options = Arguments.read(extension[SCRIPT]["args"]).options if extension else None
    fixed = parse_prompt(request["prompt"])
    if options:
        fixed |= from_labels(SCARCE[options.mode])
    images = []
    for offset in range(request["batch_size"] * request["n_iter"]):
        rng = np.random.default_rng(request["seed"] + offset)
        buffer = io.BytesIO()
        Image.fromarray(draw(sample_attributes(rng, fixed), rng, request["width"])).save(buffer, "PNG")
        images.append(base64.b64encode(buffer.getvalue()).decode())
    calls = (
        f', DD plan: "x, 9 U-Net calls", DD U-Net calls: "base 1, distilled {request["steps"] - 1}"' if options else ""
    )
    infotext = f"{request['prompt']}\nSteps: {request['steps']}, Sampler: {request['sampler_name']}{calls}, Version: 1"
    info = {"infotexts": ["a grid", *[infotext] * len(images)], "index_of_first_image": 1}
    return {"images": [images[0], *images], "info": json.dumps(info)}


@pytest.fixture
def webui() -> Iterator[tuple[str, dict[str, Any]]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    state = {
        "models": ["other", "monsters_base", "monsters_distilled"],
        "loras": [],
        "scripts": [SCRIPT.lower()],
        "checkpoint": "other.safetensors [0]",
        "loads": [],
        "refuse": False,
    }
    server.state = state  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", state
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_demo_writes_grids_and_measures_in_the_promised_form(
    webui: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    url, state = webui
    demo(url, tmp_path / "out", ("a green monster", "a monster"), seeds=14)
    report = json.loads((tmp_path / "out" / "demo.json").read_text())
    for name, calls in (("base", 25), ("distilled", 4), ("hybrid", 4), ("hybrid_k2", 4)):
        entry = report[name]
        assert entry["unet_calls"] == calls
        assert entry["seconds"] > 0
        assert entry["adherence"] > 0.9
        assert set(entry["diversity"]) == {"attributes", "perceptual"}
        with Image.open(tmp_path / "out" / f"{name}.png") as grid:
            assert grid.width > 4 * 128
    attributes = [report[name]["diversity"]["attributes"] for name in ("base", "hybrid", "distilled")]
    assert attributes == sorted(attributes, reverse=True)
    assert 0 < report["hybrid"]["share_of_gap"]["attributes"]["estimate"] < 1
    assert state["loads"] == ["monsters_base.safetensors [0]", "other.safetensors [0]"]


@pytest.mark.once  # half a minute of pictures
def test_control_transfer_is_measured_and_needs_its_files(webui: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    """The server draws what a LoRA's name says: with it, every picture has the label."""
    url, state = webui
    with pytest.raises(DemoError, match="does not list the LoRA purple_of_base"):
        transfer(url, tmp_path, seeds=4)
    state["loras"] = [file_name(control, role) for control in CONTROLS for role in ROLES]
    state["models"].append(CUSTOM)
    report = transfer(url, tmp_path, seeds=12)
    assert len(report["controls"]) == len(ROLES) * sum(1 if control.away is None else 2 for control in CONTROLS)
    for row in report["controls"]:
        if row["control"] == "purple":
            for mode in MODES:
                cell = row[mode.name]
                assert cell["with"] == 1.0
                assert cell["change"]["estimate"] == pytest.approx(1 - cell["without"], abs=1e-3)
                assert cell["change"]["low"] <= cell["change"]["estimate"] <= cell["change"]["high"]
    assert [row["strength"] for row in report["custom"]] == [None, *STRENGTHS]
    assert "| purple | base | +1 |" in (tmp_path / "table.md").read_text()
    assert {path.name for path in tmp_path.glob("*.png")} >= {"custom_base.png", "slider_tall_of_base_minus.png"}
    assert state["checkpoint"] == "other.safetensors [0]"


def test_transfer_survives_pictures_that_nobody_can_read() -> None:
    """What was measured is told, and where nothing was, that."""
    unread = Pictures(np.zeros((4, 8, 8, 3), np.uint8), {"legible": np.zeros(4, int), "colour": np.zeros(4, int)})
    cell = change(unread, unread, {"colour": 4})
    assert (cell["without"], cell["with"], cell["legible"]) == (None, None, 0.0)
    row = {"control": "purple", "trained_on": "base", "strength": 1.0, **{mode.name: cell for mode in MODES}}
    assert "none legible → none legible" in control_table([row])
    assert "NaN" not in json.dumps(cell)


def test_what_8_bits_change_is_measured(webui: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    """The server draws the same pictures whatever the residency; other ones for another seed."""
    url, state = webui
    rows = compared.run(IN_8_BITS, url, tmp_path, seeds=8)
    for row in rows.values():
        assert row["mean_levels"] == row["dissimilarity_same_seed"] == 0
        assert row["attributes_alike"] == 1
        assert row["dissimilarity_between_seeds"] > 0.05
        assert row["entropy"][0] == row["entropy"][1]
    assert "| hybrid_k2 | 0.00 |" in (tmp_path / "table.md").read_text()
    assert state["checkpoint"] == "other.safetensors [0]"
    reader = compared.load_reader()
    drawn = [compared.images_of(WebUI(url), MODES[2], {"residency": "both"}, seeds) for seeds in (8, 8)]
    drawn[1][0].images[:, ::2] = 255 - drawn[1][0].images[:, ::2]
    changed = compared.compared(reader, drawn[0], drawn[1])
    assert changed["mean_levels"] > 1
    assert changed["attributes_alike"] < 1


def test_what_is_missing_is_said_in_one_sentence(webui: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    url, state = webui
    state["refuse"] = True
    with pytest.raises(DemoError, match="distilled model is truncated"):
        demo(url, tmp_path, ("a monster",), 4)
    assert state["checkpoint"] == "other.safetensors [0]"
    state["models"] = ["monsters_base"]
    with pytest.raises(DemoError, match="does not list the checkpoint monsters_distilled"):
        demo(url, tmp_path, ("a monster",), 4)
    state["scripts"] = []
    with pytest.raises(DemoError, match="is not active"):
        demo(url, tmp_path, ("a monster",), 4)


def test_nothing_listens() -> None:
    with pytest.raises(DemoError, match="no WebUI answers"):
        WebUI("http://127.0.0.1:9").checkpoint()
    with pytest.raises(DemoError, match="must begin with http"):
        WebUI("127.0.0.1:7860")


def test_numbers_of_an_infotext() -> None:
    text = (
        'a monster, Steps: 9 of them\nSteps: 30, DD plan: "7 U-Net calls", DD U-Net calls: "base 1, distilled 3", V: 2'
    )
    assert infotext_total(text, "DD U-Net calls") == 4
    assert infotext_total("x\nSteps: 30, Size: 1x1", "Steps") == 30
    assert infotext_total("x\nSteps: 30, DD U-Net calls: 4", "DD U-Net calls") == 4
    with pytest.raises(DemoError, match="no 'DD U-Net calls'"):
        infotext_total("x\nSteps: 30", "DD U-Net calls")


def test_requests_are_what_the_extension_accepts() -> None:
    for mode in MODES:
        payload = mode.payload("a monster", 5, 64)
        assert payload["batch_size"] * payload["n_iter"] == 64
        if mode.arguments is not None:
            options = Arguments.read(payload["alwayson_scripts"][SCRIPT]["args"]).options
            assert options.as_mapping() == {**Options().as_mapping(), **mode.arguments}
