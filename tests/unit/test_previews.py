"""The trainer of the pair's preview decoders: its files are what hosts read, and it gives the same ones again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from embedded.distill import previews
from embedded.distill.export import EMBEDDED_PAIR
from embedded.distill.previews import Examples
from embedded.distill.recipe import PreviewTraining, Recipe
from embedded.networks.previews import VAEApprox, taesd_decoder, taesd_decoder_of

TINY = replace(Recipe(), previews=PreviewTraining(latents=8, held_out=4, width=8, batch=2, updates=2))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("previews")
    previews.train_previews(TINY, folder, EMBEDDED_PAIR)
    return folder


def _state(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)


def test_files_are_read_back(out: Path) -> None:
    decoder = taesd_decoder_of(_state(out / "VAE-taesd" / "taesd_decoder.pth"))
    assert decoder(torch.zeros(2, 4, 3, 5)).shape == (2, 3, 24, 40)
    approx = VAEApprox()
    approx.load_state_dict(_state(out / "VAE-approx" / "model.pt"))
    assert approx(torch.zeros(2, 4, 3, 5)).shape == (2, 3, 6, 10)


def test_errors_stand_beside_them(out: Path) -> None:
    report = json.loads((out / "previews.json").read_text())
    assert set(report["error"]) == {"TAESD", "Approx NN", "Approx cheap"}
    assert all(error > 0 for errors in report["error"].values() for error in errors.values())
    assert torch.tensor(report["colours"]).shape == (4, 3)


def test_the_same_seed_gives_the_same_files(out: Path, tmp_path: Path) -> None:
    previews.train_previews(TINY, tmp_path, EMBEDDED_PAIR)
    for name in ("VAE-taesd/taesd_decoder.pth", "VAE-approx/model.pt"):
        first, second = _state(out / name), _state(tmp_path / name)
        assert all(torch.equal(value, second[key]) for key, value in first.items())
    assert (tmp_path / "previews.json").read_text() == (out / "previews.json").read_text()


def test_colours_are_the_best_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    latents, colours = torch.randn(5, 4, 6, 6, generator=generator), torch.randn(4, 3, generator=generator)
    pictures = torch.einsum("bchw,cr->brhw", latents, colours).repeat_interleave(8, 2).repeat_interleave(8, 3)
    assert torch.allclose(previews.fit_colours(Examples(latents, pictures)), colours, atol=1e-5)


def test_a_crop_shows_its_place() -> None:
    latents = torch.arange(2 * 6 * 6.0).reshape(2, 1, 6, 6)
    examples = Examples(latents, latents.repeat_interleave(8, 2).repeat_interleave(8, 3))
    taken, pictures = examples.crops(9, 3, torch.Generator().manual_seed(1))
    assert taken.shape == (9, 1, 3, 3)
    assert torch.equal(pictures[..., ::8, ::8], taken)


def test_names_are_those_of_published_files() -> None:
    names = set(taesd_decoder(width=64).state_dict())
    assert {"1.weight", "3.conv.0.weight", "3.conv.4.bias", "7.weight", "18.conv.0.weight", "19.bias"} <= names
    assert "7.bias" not in names
    assert taesd_decoder(width=64)[1].weight.shape == (64, 4, 3, 3)
    assert {f"conv{n}.weight" for n in range(1, 9)} <= set(VAEApprox().state_dict())


def test_files_of_something_else_are_no_decoder() -> None:
    with pytest.raises(KeyError):
        taesd_decoder_of({})
    with pytest.raises(RuntimeError):
        taesd_decoder_of({"1.weight": torch.zeros(8, 4, 3, 3)})
