"""The one list: what is found on the disk, and what answers to a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from extension_core.errors import DiversityError
from extension_core.weights.choices import (
    Choice,
    checkpoint_choices,
    find,
    lora_choice,
    lora_choices,
    not_found,
    unet_choices,
    unet_folders,
)

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

TURBO = "sub/turbo.safetensors"
CHECKPOINT = Choice(f"{TURBO} [0123456789]", "turbo", Path("/c", TURBO), "turbo", ("0123", TURBO))
LORAS = [lora_choice("turbo", Path("/l/turbo.safetensors")), lora_choice("LCM lora", Path("/l/x/LCM lora.pt"))]


def files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


@pytest.fixture
def found(tmp_path: Path) -> list[Choice]:
    checkpoints, unets = tmp_path / "Stable-diffusion", tmp_path / "UNet"
    files(checkpoints, "listed.safetensors", "listed.vae.pt", "dmd2.bin", "notes.txt", ".hidden/x.bin", "listed.yaml")
    files(unets, "lcm/unet/model.safetensors", "lcm/vae/model.safetensors", "lcm/text_encoder/model.bin")
    files(unets, "hyper/unet/model.safetensors", "Flat.PTH")
    (checkpoints / "again").symlink_to(unets, target_is_directory=True)
    return unet_choices([checkpoints, *unet_folders(tmp_path), tmp_path / "none"], [checkpoints / "listed.safetensors"])


def test_what_is_listed(found: list[Choice]) -> None:
    """Model files the host does not list, each once, without the other parts of a model."""
    assert [choice.label for choice in found] == [
        "U-Net: again/Flat.PTH",
        "U-Net: again/hyper/unet/model.safetensors",
        "U-Net: again/lcm/unet/model.safetensors",
        "U-Net: dmd2.bin",
    ]


def test_what_came_since_the_host_listed_its_files(tmp_path: Path) -> None:
    """Under the names that the host will give it, without what it does not list."""
    files(tmp_path, "old.safetensors", "new.safetensors", "sub/New.CKPT", "new.bin", "new.pt", "new.vae.safetensors")
    listed = [tmp_path / "old.safetensors"]
    checkpoints = checkpoint_choices([tmp_path], listed)
    assert [choice.label for choice in checkpoints] == ["new.safetensors", str(Path("sub/New.CKPT"))]
    assert [choice.title for choice in checkpoints] == ["new", "New"]
    assert [choice.label for choice in lora_choices([tmp_path], listed)] == ["LoRA: new", "LoRA: New"]
    assert find("sub/new.ckpt", checkpoints) is checkpoints[1]
    assert find("U-Net: new.safetensors", checkpoints) is checkpoints[0]
    assert find("U-Net: turbo", LORAS) is None


def test_folders_for_unets_in_any_case(tmp_path: Path) -> None:
    for name in ("UNET", "diffusion_models", "Diffusers", "VAE"):
        (tmp_path / name).mkdir()
    assert {folder.name for folder in unet_folders(tmp_path)} == {"UNET", "diffusion_models", "Diffusers"}
    assert unet_folders(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("turbo", CHECKPOINT.label),
        ("0123", CHECKPOINT.label),
        (CHECKPOINT.label, CHECKPOINT.label),
        ("LoRA: turbo", "LoRA: turbo"),
        ("lora: turbo.safetensors", "LoRA: turbo"),
        ("LCM lora", "LoRA: LCM lora"),
        ("lcm LORA.pt", "LoRA: LCM lora"),
        ("dmd2", "U-Net: dmd2.bin"),
        ("dmd2.bin", "U-Net: dmd2.bin"),
        ("U-Net: dmd2", "U-Net: dmd2.bin"),
        ("again/lcm/unet/model", "U-Net: again/lcm/unet/model.safetensors"),
        ("Flat", "U-Net: again/Flat.PTH"),
        ("turbo [abcdef0123]", CHECKPOINT.label),
        ("sub/turbo.safetensors [abcdef0123]", CHECKPOINT.label),
        ("LoRA: turbo [abcdef0123]", "LoRA: turbo"),
    ],
)
def test_names_that_are_answered_to(name: str, label: str, found: list[Choice]) -> None:
    shorter = Choice("sub/turbo.safetensors_2", "turbo_2", Path("/c/turbo_2"), "turbo_2")  # which holds the name too
    choice = find(name, [shorter, CHECKPOINT, *found, *LORAS])
    assert choice is not None
    assert choice.label == label


@pytest.mark.parametrize(
    ("name", "label"),
    [
        (" turbo ", CHECKPOINT.label),
        ("turbo [fedcba9876]", CHECKPOINT.label),
        ("LoRA: turbo [fedcba987654]", "LoRA: turbo"),
        ("renamed [01234567aa]", "sub/new.safetensors"),
        ("Renamed.safetensors [01234567AA]", "sub/new.safetensors"),
    ],
)
def test_a_hash_after_the_name(name: str, label: str, found: list[Choice]) -> None:
    """Another than the file's own says nothing where the name is known, and is what finds a renamed file."""
    new = Choice("sub/new.safetensors", "new", Path("/c/sub/new.safetensors"), "new", ("01234567aa",))
    choice = find(name, [CHECKPOINT, new, *found, *LORAS])
    assert choice is not None
    assert choice.label == label


@pytest.mark.parametrize("name", ["turb", "t", "o", "a", "lcm", "sub", "safetensors", "turbo (1)", "gone [0123456788]"])
def test_a_part_of_a_name_is_nobodys(name: str, found: list[Choice]) -> None:
    assert find(name, [CHECKPOINT, *found, *LORAS]) is None


def test_checkpoints_of_one_name_are_told_apart_by_the_whole_one() -> None:
    two = [
        Choice(f"{folder}/turbo.safetensors", "turbo", Path(f"/c/{folder}/turbo.safetensors"), "turbo", (folder,))
        for folder in ("xl", "sd")
    ]
    with pytest.raises(DiversityError, match=r"'turbo' may be 'xl/turbo.* or 'sd/turbo.*; give"):
        find("turbo", [*two, *LORAS])
    assert find("xl", [*two, *LORAS]) is two[0]
    assert find("SD/turbo.safetensors", [*two, *LORAS]) is two[1]


def test_a_name_that_several_files_have_is_refused(found: list[Choice]) -> None:
    with pytest.raises(DiversityError, match=r"may be 'U-Net: again/hyper/.*' or 'U-Net: again/lcm/.*'; give"):
        find("model", found)


@pytest.mark.parametrize("name", ["../Stable-diffusion/dmd2.bin", "/etc/passwd", "dmd", "listed.vae.pt"])
def test_what_is_not_in_the_list_is_never_opened(name: str, found: list[Choice]) -> None:
    choices = [CHECKPOINT, *found, *LORAS]
    assert find(name, choices) is None
    assert find(str(found[-1].path), choices) is None


def test_the_nearest_is_named(found: list[Choice]) -> None:
    choices = [CHECKPOINT, *found, *LORAS]
    assert "the nearest is 'LoRA: LCM lora'" in str(not_found("LoRA: lcm lra", choices))
    assert "the nearest is 'U-Net: dmd2.bin'" in str(not_found("u-net: dmd3.bin", choices))
    assert "it lists none at all" in str(not_found("x", []))
