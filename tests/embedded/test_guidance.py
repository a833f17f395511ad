"""A call at CFG 1: the prompt's rows alone go into the U-Net, and what comes out is what the host's own skip makes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.embedded.conftest import Host
from tests.embedded.ours import Ours, ours

__all__ = ["ours"]
pytestmark = pytest.mark.a1111
NOTE = "Skip Early CFG"
AT_1 = {"base_cfg": 1, "distilled_cfg": 1, "switch_step": 2}
# How the host cuts one call of its denoiser into calls of the U-Net: (settings, prompts).
CUTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "all at once": ({}, {}),
    "one half after the other": ({"batch_cond_uncond": False}, {}),
    "prompts of other lengths": ({}, {"prompt": "a red cat " * 40}),
    "other lengths, half by half": ({"batch_cond_uncond": False}, {"prompt": "a red cat " * 40}),
    "padded": ({"pad_cond_uncond": True}, {"prompt": "a red cat " * 40}),
}


@contextmanager
def unet_rows() -> Iterator[list[int]]:
    """How many rows each call of the U-Net has, while it is open."""
    from modules import shared

    rows: list[int] = []
    unet = shared.sd_model.model.diffusion_model
    handle = unet.register_forward_pre_hook(lambda module, args: rows.append(args[0].shape[0]))
    try:
        yield rows
    finally:
        handle.remove()


@pytest.mark.parametrize("sampler", ["Euler a", "Heun", "DDIM", "LCM"])
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("batch", [1, 3])
def test_is_the_hosts_own_skip(ours: Ours, cut: str, batch: int, sampler: str) -> None:
    """Bit for bit, at half of the work, and without its note in the infotext."""
    settings, prompts = CUTS[cut]
    request = {"sampler_name": sampler, "batch_size": batch, **prompts, "override_settings": settings}
    with unet_rows() as mine:
        base = ours.run({**AT_1, "mode": "base"}, **request)
    skipping = {**request, "cfg_scale": 1, "override_settings": {**settings, "skip_early_cond": 1.0}}
    with unet_rows() as its:
        native = ours.plain(**skipping)
    ours.host.post("options", skip_early_cond=0.0)
    assert base.equals(native)
    assert set(mine) == {batch}
    assert mine == its
    assert NOTE in native.infotext
    assert NOTE not in base.infotext


def test_a_note_of_the_users_own_stays(ours: Ours) -> None:
    """The user's setting holds in our runs, and its note is the host's."""
    answer = ours.run({**AT_1, "base_cfg": 3}, override_settings={"skip_early_cond": 0.25})
    ours.host.post("options", skip_early_cond=0.0)
    assert f"{NOTE}: 0.25" in answer.infotext


@pytest.mark.parametrize("prompt", ["a red cat AND a dog", "a red cat :0.7"])
def test_prompts_that_need_the_negative_one_get_it(ours: Ours, prompt: str) -> None:
    with unet_rows() as rows:
        ours.run({**AT_1, "mode": "base"}, prompt=prompt)
    assert set(rows) == {len(prompt.split("AND")) + 1}


def test_each_phase_by_its_own_cfg(ours: Ours) -> None:
    with unet_rows() as rows:
        ours.run({"base_cfg": 3, "distilled_cfg": 1, "switch_step": 2})
    assert rows == [2, 2, 1, 1]


class Inner(torch.nn.Module):
    """An inner model that remembers what it is asked, and answers by row."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[torch.Tensor, torch.Tensor, Any]] = []

    def forward(self, x: torch.Tensor, sigma: torch.Tensor, cond: Any) -> torch.Tensor:
        self.asked.append((x, sigma, cond))
        return x * 10 + sigma.reshape(-1, 1, 1, 1)


def denoiser_of(inner: Inner) -> Any:
    return SimpleNamespace(inner_model=inner, cond_scale_miltiplier=1.0, need_last_noise_uncond=False)


def cond_of(images: int) -> Any:
    return SimpleNamespace(batch=[[SimpleNamespace(weight=1.0)]] * images)


def rows(count: int, *shape: int) -> torch.Tensor:
    return torch.arange(1.0, count + 1).reshape(count, *[1] * len(shape)).expand(count, *shape).clone()


# What the host's kinds of models are conditioned by, for so many rows (sd_samplers_cfg_denoiser.py, 1.10.1).
CONDITIONED = {
    "text": lambda n: {"c_crossattn": [rows(n, 77, 8)], "c_concat": [rows(n, 5, 1, 1)]},
    "inpainting": lambda n: {"c_crossattn": [rows(n, 77, 8)], "c_concat": [rows(n, 5, 8, 8)]},
    "unCLIP": lambda n: {"c_crossattn": [rows(n, 77, 8)], "c_adm": rows(n, 32)},
    "SDXL": lambda n: {"crossattn": rows(n, 77, 8), "vector": rows(n, 16), "c_concat": [rows(n, 5, 1, 1)]},
    "SDXL inpainting": lambda n: {"crossattn": rows(n, 77, 8), "vector": rows(n, 16), "c_concat": [rows(n, 5, 8, 8)]},
}


def tensors(cond: Any) -> list[torch.Tensor]:
    if isinstance(cond, torch.Tensor):
        return [cond]
    parts = cond.values() if isinstance(cond, dict) else cond
    return [tensor for part in parts for tensor in tensors(part)]


@pytest.mark.parametrize("pieces", [[6], [3, 3], [1] * 6, [2, 2, 2], [4, 2], [5, 1]], ids=str)
@pytest.mark.parametrize("kind", CONDITIONED)
def test_every_kind_in_every_cut(host: Host, kind: str, pieces: list[int]) -> None:
    """Three images: of six rows the first three are computed, with their own conditioning, the others copied."""
    from extension_core.hosts.a1111 import guidance

    inner, x = Inner(), torch.cat([rows(3, 4, 8, 8)] * 2)
    whole, answers, start = CONDITIONED[kind](6), [], 0
    denoiser = denoiser_of(inner)
    with guidance.around(denoiser, cond_of(3), 1.0):
        for size in pieces:
            part = slice(start, start + size)
            cond = _sliced(whole, part)
            answers.append(denoiser.inner_model(x[part], torch.full((size,), 0.5), cond=cond))
            start += size
        assert guidance.leaves_uncond_out(denoiser)
    assert torch.equal(torch.cat(answers), x * 10 + 0.5)
    assert sum(len(asked) for asked, _, _ in inner.asked) == 3
    for asked, sigma, cond in inner.asked:
        assert len(sigma) == len(asked)
        assert {tuple(tensor.flatten(1)[:, 0].tolist()) for tensor in tensors(cond)} == {
            tuple(asked.flatten(1)[:, 0].tolist())
        }
    assert "forward" not in vars(inner)
    assert not guidance.leaves_uncond_out(denoiser)


def _sliced(cond: Any, part: slice) -> Any:
    if isinstance(cond, torch.Tensor):
        return cond[part]
    if isinstance(cond, dict):
        return {name: _sliced(value, part) for name, value in cond.items()}
    return [_sliced(value, part) for value in cond]


@pytest.mark.parametrize("sizes", [[8], [6, 6], [6, 3], [3, 6]], ids=str)
def test_other_rows_than_the_hosts_are_all_computed(host: Host, sizes: list[int]) -> None:
    """Another extension's: nothing is guessed of what they are."""
    from extension_core.hosts.a1111 import guidance

    inner, denoiser = Inner(), None
    denoiser = denoiser_of(inner)
    with guidance.around(denoiser, cond_of(3), 1.0):
        for size in sizes:
            cond = CONDITIONED["text"](size)
            answer = denoiser.inner_model(rows(size, 4, 8, 8), torch.zeros(size), cond=cond)
            assert len(answer) == size
    last = inner.asked[-1][0]
    assert len(last) == sizes[-1]
    assert torch.equal(answer, last * 10)


def test_conditioning_of_other_rows_is_computed_whole(host: Host) -> None:
    from extension_core.hosts.a1111 import guidance

    inner = Inner()
    denoiser = denoiser_of(inner)
    odd = {"c_crossattn": [rows(1, 77, 8)], "c_concat": [rows(6, 5, 1, 1)]}
    with guidance.around(denoiser, cond_of(3), 1.0):
        denoiser.inner_model(rows(6, 4, 8, 8), torch.zeros(6), cond=odd)
        assert not guidance.leaves_uncond_out(denoiser)
    assert [len(x) for x, _, _ in inner.asked] == [6]


def test_another_extensions_forward_is_inside(host: Host) -> None:
    """As Tiled Diffusion sets its own; it gets the rows that are computed, and stands there after."""
    from extension_core.hosts.a1111 import guidance

    inner, seen = Inner(), []
    original = inner.forward

    def tiled(x: torch.Tensor, sigma: torch.Tensor, cond: Any) -> torch.Tensor:
        seen.append(len(x))
        return original(x, sigma, cond)

    inner.forward = tiled  # type: ignore[method-assign]
    denoiser = denoiser_of(inner)
    with guidance.around(denoiser, cond_of(2), 1.0):
        denoiser.inner_model(rows(4, 4, 8, 8), torch.zeros(4), cond=CONDITIONED["text"](4))
    assert seen == [2]
    assert inner.forward is tiled
