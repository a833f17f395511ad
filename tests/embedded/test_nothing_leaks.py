"""Whatever others do while a request runs, they see the host as it was: no setting, flag, class or global is changed.

Looked at from inside of every U-Net call and every callback, and by other threads that save settings, read them and ask
for images of their own in that while.
"""

from __future__ import annotations

import itertools
import json
import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.embedded.conftest import Host
from tests.embedded.ours import Ours, ours
from tests.embedded.public_state import PublicState, active_networks

__all__ = ["ours"]
pytestmark = pytest.mark.a1111
SAVES = int(os.environ.get("DD_POLLS", "2000")) // 2  # each with a read and a look at everything beside it
CALLBACKS = ("cfg_denoiser", "cfg_denoised", "cfg_after_cfg")
LORA = "a red cat <lora:tiny:1>"
SAVED = "grid_format"


class Others:
    """What other threads do while a request is stopped at one point: a settings save, a read, and a look at it all."""

    def __init__(self, host: Host, by_host: set[str]) -> None:
        from modules import shared

        self.host, self.by_host = host, by_host
        self.before = PublicState()
        self.saves, self.points = 0, itertools.count()
        self.seen_changed: set[str] = set()
        self.networks: set[Any] = set()
        self.broken: list[str] = []
        self._pool = ThreadPoolExecutor(3)
        self._config = Path(shared.config_filename)

    def look(self) -> None:
        self.seen_changed |= self.before.changed() - self.by_host - {f"opts.{SAVED}"}
        self.networks.add(active_networks())

    def act(self) -> None:
        """One of each at once, in threads of their own, and waited for."""
        mine = next(self.points)
        value = ("png", "jpg")[mine % 2]
        jobs = [
            self._pool.submit(self.look),
            self._pool.submit(self.host.post, "options", **{SAVED: value}),
            self._pool.submit(self.host.client.get, "/sdapi/v1/options"),
        ]
        answers = [job.result() for job in jobs]
        self.saves += 1
        try:
            self.config()
            _strict(answers[2].text)
        except ValueError as error:
            self.broken.append(str(error))

    def config(self) -> Any:
        """The settings as they are kept for the next start."""
        return _strict(self._config.read_text())

    def close(self) -> None:
        self._pool.shutdown()


def _strict(text: str) -> Any:
    """JSON, and nothing that only Python takes for it."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} in {text[:200]}")

    return json.loads(text, parse_constant=refuse)


@contextmanager
def stopping(on: Any, act: Callable[[], None]) -> Iterator[None]:
    """`act` is called inside every U-Net call, before, in and after it, and inside every callback."""
    from modules import shared

    unet = shared.sd_model.model.diffusion_model
    layer = next(module for module in unet.modules() if isinstance(module, torch.nn.Linear))
    handles = [
        unet.register_forward_pre_hook(lambda *_: act()),
        layer.register_forward_hook(lambda *_: act()),
        unet.register_forward_hook(lambda *_: act()),
    ]
    for name in CALLBACKS:
        on(name)(lambda *_: act())
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for name in CALLBACKS:
            on(name)(lambda *_: None)


def requests(chance: random.Random) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(options of ours, request) that leave the unconditional half out, weigh LoRAs, or both; without end."""
    while True:
        options = {
            "distilled_model": "second",
            "family": "custom",
            "mode": chance.choice(["hybrid", "distilled", "base"]),
            "base_cfg": chance.choice([1, 1, 3]),
            "distilled_cfg": chance.choice([1, 1, 3]),
            "base_lora_factor": chance.choice([1, 0.5, 0]),
            "distilled_lora_factor": chance.choice([1, 0.5]),
            "switch_step": chance.choice([1, 2]),
        }
        request = {
            "prompt": chance.choice([LORA, "a red cat", "a red cat " * 40]),
            "sampler_name": chance.choice(["Euler a", "DPM++ 2M", "Heun", "DDIM", "LCM"]),
            "batch_size": chance.choice([1, 2]),
            "steps": 3,
        }
        if chance.random() < 0.2:
            request |= {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6}
        yield options, request


def changed_by_the_host(ours: Ours, on: Any) -> set[str]:
    """Names of what the host itself changes while it makes images, which is not ours to put back."""
    names: set[str] = set()
    before = PublicState()

    def look() -> None:
        names.update(before.changed())

    with stopping(on, look):
        hires = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6}
        for request in ({}, {"sampler_name": "DDIM", "batch_size": 2}, {"prompt": LORA}, hires):
            assert ours.plain(steps=3, **request).status == 200
    return names | before.changed()


def test_what_the_host_changes_itself_is_little(ours: Ours, on: Any) -> None:
    """So that what is left out of the look is none of what matters."""
    names = changed_by_the_host(ours, on)
    assert not [name for name in names if name.startswith(("opts.", "cmd_opts."))]
    assert len(names) < 25, sorted(names)


def test_others_see_the_host_as_it_was(ours: Ours, on: Any) -> None:
    """Thousands of saves, reads and looks in the middle of requests, with other requests waiting for their turn."""
    host = ours.host
    plain = ours.plain()
    host.post("options", **{SAVED: "png"})
    others = Others(host, changed_by_the_host(ours, on))
    chance = random.Random(16)
    try:
        for options, request in requests(chance):
            with stopping(on, others.act), ThreadPoolExecutor(1) as another:
                made = another.submit(ours.run, options, **request)
                assert ours.plain().equals(plain)  # before or after, never under it
                assert made.result().status == 200
            others.look()
            assert not others.seen_changed, (options, request)
            assert not others.broken
            if others.saves >= SAVES:
                break
    finally:
        others.close()
    assert others.networks <= {(), (("tiny", 1.0, 1.0),)}
    assert "skip_early_cond" not in others.config()
    assert ours.plain().equals(plain)
