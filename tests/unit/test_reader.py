"""Reading model files without running what they may contain."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from extension_core.errors import DiversityError
from extension_core.weights.naming import file_keys
from extension_core.weights.reader import open_tensors, read_header

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.float16)}


def write(kind: str, path: Path) -> Path:
    if kind == "safetensors":
        save_file(TENSORS, path, metadata={"modelspec.title": "x"})
    else:
        torch.save({"state_dict": TENSORS, "global_step": 7}, path, _use_new_zipfile_serialization=kind == "zip")
    return path


@pytest.mark.parametrize(("kind", "name"), [("safetensors", "m.safetensors"), ("zip", "m.ckpt"), ("legacy", "m.pt")])
def test_tensors_come_back(kind: str, name: str, tmp_path: Path) -> None:
    path = write(kind, tmp_path / name)
    assert dict(read_header(path).shapes) == {"a.weight": (2, 3), "b": (4,)}
    with open_tensors(path) as source:
        for key, tensor in TENSORS.items():
            assert torch.equal(source.get(key), tensor)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize(("kind", "name"), [("safetensors", "m.safetensors"), ("zip", "m.ckpt"), ("legacy", "m.pt")])
def test_truncated_files_are_refused_in_one_sentence(kind: str, name: str, share: float, tmp_path: Path) -> None:
    path = write(kind, tmp_path / name)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DiversityError, match=f"The distilled model '{name}' cannot be read") as caught:
        read_header(path)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DiversityError, match="is missing"):
        read_header(tmp_path / "gone.safetensors")


def test_a_pickle_with_code_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    witness = tmp_path / "witness"

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (witness,)

    for name in ("evil.ckpt", "evil.pt", "evil.bin"):
        (tmp_path / name).write_bytes(pickle.dumps({"state_dict": {"x": Evil()}}))
        with pytest.raises(DiversityError, match="cannot be read"):
            read_header(tmp_path / name)
    assert not witness.exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("suffix", ["bin", "pt", "ckpt", "pth"])
def test_code_among_good_tensors_is_refused_too(suffix: str, zipped: bool, tmp_path: Path) -> None:
    """As torch itself saves it, in either of its formats; loading it the unsafe way does run the code."""
    witness = tmp_path / "witness"

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (witness,)

    path = tmp_path / f"evil.{suffix}"
    torch.save({**TENSORS, "x": Evil()}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(DiversityError, match=f"'evil.{suffix}' cannot be read: it names '__builtin__.getattr' beside"):
        read_header(path)
    assert not witness.exists()
    torch.load(path, weights_only=False)
    assert witness.exists()


def test_a_header_is_read_again_when_its_file_changes(tmp_path: Path) -> None:
    path = write("zip", tmp_path / "m.bin")
    assert read_header(path) is read_header(path)
    torch.save({"c": torch.ones(3)}, path)
    assert dict(read_header(path).shapes) == {"c": (3,)}
    path.unlink()
    with pytest.raises(DiversityError, match="is missing"):
        read_header(path)


def test_legacy_text_encoder_names() -> None:
    old = "cond_stage_model.transformer.encoder.layers.0.mlp.fc1.weight"
    new = "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight"
    assert file_keys([old, "model.diffusion_model.x"]) == {
        new: old,
        "model.diffusion_model.x": "model.diffusion_model.x",
    }
