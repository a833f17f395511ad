"""Recordings opened by hand, as what records them would, and routes on an application of the test's own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

import torch

from tests.embedded.conftest import Host
from tests.unit.trajectory import tag
from tests.waiting import until

PREFIX = "/diversity-distillation/v1/dt"


def new_secret() -> str:
    return secrets.token_urlsafe(24)


def load_model(host: Host) -> None:
    """Both hosts have their checkpoint after an image."""
    assert host.txt2img(steps=1).status == 200


def host_decoding() -> Any:
    """The adapter's part of the flavour that runs."""
    from extension_core.hosts import choose

    chosen: Any = choose.choose()
    return chosen.host.decoding


def open_recording(
    frames: int = 3,
    images: int = 2,
    owner: str = "",
    key: str | None = None,
    identifier: str | None = None,
    latents: Sequence[torch.Tensor] | None = None,
    **noted: Any,
) -> Any:
    """A running generation with as many frames; what is noted of it may be given."""
    from extension_core.hosts.common.preview.decoders import DECODERS
    from extension_core.hosts.common.preview.recorded import STORE, Recorded

    noted = {"latents": DECODERS.latent_kind(), "vae": DECODERS.vae_in_use(), **noted}
    key = new_secret() if key is None else key
    generation = STORE.open(owner, identifier, key, about=Recorded(**noted))
    for step in range(frames):
        given = latents[step] if latents else torch.randn(images, 4, 8, 8, generator=_seeded(step))
        cond = given + 0.1 if step else None
        generation.recorder.add(tag(step, max(frames, 4)), given, cond)
    return generation


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def client_of(app: Any) -> Any:
    from fastapi.testclient import TestClient

    from extension_core.hosts.common.preview.frame_routes import add_routes

    add_routes(app)
    return TestClient(app, raise_server_exceptions=False)


def eventually(answer: Callable[[], Any], status: int = 200) -> Any:
    """The first answer of this status; all before it say 202."""

    def ready() -> Any:
        reply = answer()
        if reply.status_code == status:
            return [reply]
        assert reply.status_code == 202, (reply.status_code, reply.text)
        assert reply.headers["retry-after"] == "1"
        assert reply.json()["wait"]
        return []

    return until(ready, f"an answer with status {status}")[0]
