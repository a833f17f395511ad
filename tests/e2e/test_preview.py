"""The DT-preview over the API of any host: each frame is what the model believed, and nothing else changes."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from diffusers import AutoencoderKL
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint, create_vae_diffusers_config_from_ldm
from safetensors.torch import load_file

from tests.e2e.client import Pair, Reply, WebUI
from tests.e2e.gate import Gate, closed
from tests.e2e.test_paper_oracle import CASES, TRAINED, both_unets, by_the_paper, described, initial, record
from tests.waiting import joined

__all__ = ["described"]
PREFIX = "/diversity-distillation/v1/dt"
HYBRID = {"family": "dmd2"}
# Bytes of pictures: the same latents, decoded by another implementation and rounded.
TOLERANCE = 2


def asked(pair: Pair, dt: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"distilled_model": pair.distilled, **HYBRID, **settings, "dt": dt}


def told(reply: Reply) -> dict[str, Any]:
    return json.loads(reply.must_work().body["info"])["dt"]


def diffusers_vae(webui: WebUI, name: str) -> AutoencoderKL:
    path = next(Path(m["filename"]) for m in webui.get("/sdapi/v1/sd-models") if Path(m["filename"]).stem == name)
    original = yaml.safe_load(path.with_suffix(".yaml").read_text())
    tensors = {key: tensor.float() for key, tensor in load_file(path).items()}
    config = create_vae_diffusers_config_from_ldm(original, tensors, image_size=64)
    vae = AutoencoderKL.from_config(config)
    vae.load_state_dict(convert_ldm_vae_checkpoint(tensors, dict(vae.config)))
    return vae.eval()


@torch.no_grad()
def pictures(vae: AutoencoderKL, latents: torch.Tensor, scale: float) -> np.ndarray:
    decoded = vae.decode(latents / scale).sample
    return ((decoded.clamp(-1, 1) + 1) / 2 * 255).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("name", CASES)
def test_each_frame_is_what_diffusers_predicts(
    webui: WebUI, described: Pair, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same weights, initial latent and noises; decoded by diffusers' own VAE from its own prediction of x0."""
    kind, extra, family = CASES[name]
    settings = {**family, "mode": "hybrid", "switch_step": 1}
    recorded = record(webui, described, settings)
    scheduler = kind(**TRAINED, **extra)
    scheduler.set_timesteps(4)
    start = initial(name, scheduler, recorded["noise.0"], False, 1)
    _, predicted = by_the_paper(scheduler, both_unets(webui, described), recorded, start, 1, False, monkeypatch)
    dt = {"return": True, "decoder": "full"}
    reply = webui.generate(described.base, {"distilled_model": described.distilled, **settings, "dt": dt})
    frames = told(reply)["frames"]
    assert [(frame["number"], frame["phase"]) for frame in frames] == [
        (0, "base"), (1, "distilled"), (2, "distilled"), (3, "distilled")
    ]  # fmt: skip
    assert [round(frame["timestep"]) for frame in frames] == [int(t) for t in scheduler.timesteps]
    config = yaml.safe_load(file_beside(webui, described.base).read_text())
    theirs = pictures(
        diffusers_vae(webui, described.base), torch.cat(predicted), config["model"]["params"]["scale_factor"]
    )
    for frame, expected in zip(frames, theirs, strict=True):
        ours = reply.images[frame["index"]].astype(float)
        assert np.abs(ours - expected).max() <= TOLERANCE, (frame["number"], np.abs(ours - expected).max())
    if name != "DDIM":  # which ends above noise level 0
        assert np.array_equal(reply.images[frames[-1]["index"]], reply.images[0])


def file_beside(webui: WebUI, name: str) -> Path:
    """The yaml of a checkpoint."""
    models = webui.get("/sdapi/v1/sd-models")
    return next(Path(m["filename"]) for m in models if Path(m["filename"]).stem == name).with_suffix(".yaml")


@pytest.mark.parametrize("hybrid", [True, False], ids=["hybrid", "one model"])
def test_recording_changes_no_image(webui: WebUI, pair: Pair, hybrid: bool) -> None:
    settings = {"distilled_model": pair.distilled, **HYBRID} if hybrid else {"enabled": False}
    for request in ({"batch_size": 2}, {"sampler_name": "Euler a", "n_iter": 2}, {"sampler_name": "DDIM"}):
        plain = webui.generate(pair.base, settings, **request).must_work()
        recorded = webui.generate(pair.base, {**settings, "dt": True}, **request).must_work()
        assert recorded.same_as(plain), request
        assert recorded.infotext == plain.infotext


def test_one_model_s_long_run_shows_every_step(webui: WebUI, pair: Pair) -> None:
    reply = webui.generate(pair.base, {"enabled": False, "dt": {"return": True, "frames": [0, -1]}}, steps=20)
    first, last = told(reply)["frames"]
    assert (first["number"], last["number"], last["steps"]) == (0, 19, 20)
    assert {first["phase"], last["phase"]} == {""}
    assert first["model"] == pair.base
    assert len(reply.images) == 3


@dataclass
class Running:
    """A generation of 12 steps under an id of the client's own, held still at U-Net calls 3 and 6."""

    webui: WebUI
    identifier: str
    gate: Gate
    _thread: threading.Thread
    _replies: list[Reply]

    def update(self, since: int = 0) -> dict[str, Any]:
        """What a polling client is told."""
        status, update = self.webui.call(f"{PREFIX}/{self.identifier}?since={since}")
        assert status == 200, update
        return update

    def reply(self) -> Reply:
        """The whole of it, once everything is let go."""
        self.gate.end()
        joined(self._thread)
        [reply] = self._replies
        return reply.must_work()


@pytest.fixture
def running(webui: WebUI, pair: Pair) -> Iterator[Running]:
    identifier, replies = secrets.token_urlsafe(24), []
    settings = {"enabled": False, "dt": {"id": identifier}}
    webui.generate(pair.base, steps=1).must_work()  # what is loaded for it makes no calls that count

    def ask() -> None:
        replies.append(webui.generate(pair.base, settings, steps=12, batch_size=2))

    thread = threading.Thread(target=ask)
    with closed(webui, 3, 6) as gate:
        thread.start()
        try:
            yield Running(webui, identifier, gate, thread, replies)
        finally:
            gate.end()
            joined(thread)


def test_frames_can_be_had_while_they_are_made(running: Running) -> None:
    numbers: list[int] = []
    for call in (3, 6):
        running.gate.wait(call)
        update = running.update(len(numbers))
        assert update["state"] == "running"
        assert update["frames"], f"none new while call {call} is made"
        numbers += [frame["number"] for frame in update["frames"]]
        running.gate.open()
    running.reply()
    update = running.update(len(numbers))
    assert update["state"] == "done"
    assert numbers + [frame["number"] for frame in update["frames"]] == list(range(12)), "each frame once"


def test_stop_here_ends_it_with_the_newest_frame(running: Running) -> None:
    running.gate.wait(3)
    running.gate.open()
    running.gate.wait(6)
    made = len(running.update()["frames"])
    assert 2 <= made < 6
    status, answer = running.webui.call(f"{PREFIX}/{running.identifier}/stop", {"number": None})
    assert status == 202, answer
    reply = running.reply()
    update = running.update()
    stopped = len(update["frames"])
    assert update["state"] == "done"
    assert made <= stopped <= made + 1, "the call that was held is made to its end"
    assert len(reply.images) == 2
    assert f'DD stopped at: "first pass step {stopped} of 12' in reply.infotext


def test_compare_lays_three_generations_side_by_side(webui: WebUI, pair: Pair) -> None:
    settings = asked(pair, {"compare": True})
    compared = webui.generate(pair.base, settings).must_work()
    alone = webui.generate(pair.base, {**settings, "dt": False}).must_work()
    base = webui.generate(pair.base, steps=20).must_work()
    distilled = webui.generate(pair.base, {**settings, "dt": False, "mode": "distilled"}).must_work()
    expected = [reply.images[0] for reply in (alone, base, distilled)]
    assert all(np.array_equal(a, b) for a, b in zip(compared.images, expected, strict=True))
    others = told(compared)["compared"]
    counts = {}
    for role, identifier in others.items():
        status, update = webui.call(f"{PREFIX}/{identifier}?since=0")
        assert (status, update["state"], update["role"]) == (200, "done", role)
        counts[role] = len(update["frames"])
    assert counts == {"base": 20, "distilled": 4}


def test_unknown_ids_are_not_found(webui: WebUI) -> None:
    for path in (secrets.token_urlsafe(24), "newest2", "..%2f..%2fetc", "0" * 4000):
        status, body = webui.call(f"{PREFIX}/{path}")
        assert status == 404, (path, body)
