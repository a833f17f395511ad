"""The DT-preview over the API of any host: each frame is what the model believed, and nothing else changes."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
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
from tests.e2e.test_paper_oracle import CASES, TRAINED, both_unets, by_the_paper, described, initial, record

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


@pytest.fixture
def running(webui: WebUI, pair: Pair) -> Iterator[tuple[str, list[Reply]]]:
    """A generation of many steps under an id of the client's own, and its reply once it is there."""
    identifier, replies = secrets.token_urlsafe(24), []
    settings = {"enabled": False, "dt": {"id": identifier}}

    def ask() -> None:
        replies.append(webui.generate(pair.base, settings, steps=60, batch_size=2))

    thread = threading.Thread(target=ask)
    thread.start()
    yield identifier, replies
    thread.join()


def states(webui: WebUI, identifier: str) -> Iterator[dict[str, Any]]:
    """What a polling client is told until the generation has ended."""
    since, deadline = 0, time.monotonic() + 300
    while time.monotonic() < deadline:
        status, update = webui.call(f"{PREFIX}/{identifier}?since={since}")
        if status == 200:
            yield update
            since = update["cursor"]
            if update["state"] != "running":
                return
        time.sleep(0.1)
    pytest.fail("the generation did not end")


def test_frames_can_be_had_while_they_are_made(webui: WebUI, running: tuple[str, list[Reply]]) -> None:
    identifier, replies = running
    seen: list[int] = []
    while_running = 0
    for update in states(webui, identifier):
        seen += [frame["number"] for frame in update["frames"]]
        while_running += bool(update["frames"] and update["state"] == "running")
    assert seen == list(range(60)), "each frame once"
    assert while_running > 2
    assert not replies or replies[0].must_work()


def test_stop_here_ends_it_with_the_newest_frame(webui: WebUI, running: tuple[str, list[Reply]]) -> None:
    identifier, replies = running
    for update in states(webui, identifier):
        if update["state"] == "running" and update["cursor"] > 3:
            webui.call(f"{PREFIX}/{identifier}/stop", {"number": None})
    status, update = webui.call(f"{PREFIX}/{identifier}?since=0")
    assert (status, update["state"]) == (200, "done")
    made = len(update["frames"])
    assert 3 < made < 60
    while not replies:
        time.sleep(0.05)
    [reply] = replies
    assert len(reply.must_work().images) == 2
    assert f'DD stopped at: "first pass step {made} of 60' in reply.infotext


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
