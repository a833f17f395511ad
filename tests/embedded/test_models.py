"""Loading, reloading and losing of checkpoints: the traps that a change of the model meets on the real host."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.embedded.conftest import Host

pytestmark = pytest.mark.a1111
On = Callable[[str], Callable[[Callable[..., Any]], Callable[..., Any]]]


@pytest.fixture
def one_config(host: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All checkpoints described by one yaml, as real ones are: a change is then an in-place reload."""
    from modules import sd_models, sd_models_config

    shared_yaml = str(Path(sd_models.checkpoints_list[_title("base")].filename).with_suffix(".yaml"))
    monkeypatch.setattr(sd_models_config, "find_checkpoint_config_near_filename", lambda info: shared_yaml)
    _select("base", forced=True)
    yield
    _select("base")


def _title(name: str) -> str:
    from modules import sd_models

    info = sd_models.get_closet_checkpoint_match(name)
    assert info is not None
    return info.title


def _select(name: str, forced: bool = False) -> None:
    from modules import sd_models

    sd_models.reload_model_weights(info=sd_models.get_closet_checkpoint_match(name), forced_reload=forced)


@pytest.fixture
def broken(host: Host, model_folder: Path) -> Iterator[str]:
    """A checkpoint whose file is cut off in the middle."""
    from modules import sd_models

    whole = model_folder / "second.safetensors"
    path = model_folder / "broken.safetensors"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    shutil.copy(whole.with_suffix(".yaml"), path.with_suffix(".yaml"))
    sd_models.list_models()
    yield "broken"
    path.unlink()
    path.with_suffix(".yaml").unlink()
    sd_models.list_models()
    _select("second")
    _select("base")


def test_names_of_a_checkpoint(host: Host, model_folder: Path) -> None:
    from modules import sd_models

    host.txt2img(steps=1)
    info = sd_models.get_closet_checkpoint_match("base")
    assert info is not None
    assert info.sha256 is not None
    assert info.title == f"base.safetensors [{info.sha256[:10]}]"
    assert info.short_title == f"base [{info.sha256[:10]}]"
    for name in (info.title, "base.safetensors", info.sha256, info.sha256[:10], f"base [{info.sha256[:10]}]", "bas"):
        assert sd_models.get_closet_checkpoint_match(name) is info
    assert sd_models.get_closet_checkpoint_match("") is None
    assert sd_models.get_closet_checkpoint_match("nix") is None
    assert Path(info.filename) == model_folder / "base.safetensors"


def test_the_structure_that_loading_leaves(host: Host) -> None:
    from modules import shared

    host.txt2img(steps=1)
    model = shared.sd_model
    wrapped = model.cond_stage_model.wrapped
    assert type(wrapped).__name__ == "FrozenCLIPEmbedder"
    token_embedding = wrapped.transformer.text_model.embeddings.token_embedding
    assert type(token_embedding).__name__ == "EmbeddingsWithFixes"
    assert isinstance(token_embedding.wrapped, torch.nn.Embedding)
    keys = set(model.state_dict())
    assert "model.diffusion_model.input_blocks.0.0.weight" in keys
    assert "first_stage_model.decoder.conv_in.weight" in keys
    assert not model.is_sdxl
    assert model.parameterization == "eps"


def test_checkpoints_of_one_config_are_read_into_the_same_model(host: Host, one_config: None) -> None:
    from modules import shared

    before = shared.sd_model
    unet = before.model.diffusion_model
    base = host.txt2img()
    host.txt2img(override_settings={"sd_model_checkpoint": "second"})
    assert shared.sd_model is before
    assert shared.sd_model.model.diffusion_model is unet
    assert host.txt2img().equals(base)


def test_another_config_makes_a_new_model(host: Host) -> None:
    from modules import shared

    host.txt2img(steps=1)
    before = shared.sd_model
    host.txt2img(steps=1, override_settings={"sd_model_checkpoint": "second"})
    assert shared.sd_model is not before
    assert next(before.parameters()).is_meta


def test_load_model_drops_the_prompts_loras(host: Host) -> None:
    """The empty prompt's conditioning activates an empty set of networks, in the middle of the Refiner's switch."""
    import networks

    host.txt2img(prompt="a red cat <lora:tiny:1>")
    assert [x.name for x in networks.loaded_networks] == ["tiny"]
    host.txt2img(prompt="a red cat <lora:tiny:1>", refiner_checkpoint="second", refiner_switch_at=0.5)
    assert networks.loaded_networks == []


def test_with_two_resident_checkpoints_only_the_first_image_loses_its_loras(host: Host) -> None:
    host.txt2img(steps=1)
    host.post("options", sd_checkpoints_limit=2)
    request = {"prompt": "a red cat <lora:tiny:1>", "refiner_checkpoint": "second", "refiner_switch_at": 0.5}
    first, second, third = (host.txt2img(steps=6, **request) for _ in range(3))
    host.post("options", sd_checkpoints_limit=1)
    assert not first.equals(second)
    assert second.equals(third)


def test_a_corrupt_second_file_leaves_the_model_without_its_wrapper(host: Host, broken: str) -> None:
    from modules import shared

    clean = host.txt2img(prompt="a (red:1.5) cat")
    assert host.txt2img(refiner_checkpoint=broken, refiner_switch_at=0.5).status == 500
    assert type(shared.sd_model.cond_stage_model).__name__ == "FrozenCLIPEmbedder"
    silent = host.txt2img(prompt="a  (red:1.5) cat")
    assert silent.status == 200
    assert not silent.equals(clean)


def test_a_reload_undoes_tiling(host: Host) -> None:
    from modules import sd_hijack

    host.txt2img(tiling=True, steps=2)
    assert sd_hijack.model_hijack.circular_enabled
    host.txt2img(tiling=True, steps=2, refiner_checkpoint="second", refiner_switch_at=0.5)
    assert not sd_hijack.model_hijack.circular_enabled
