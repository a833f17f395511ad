"""Pictures' files: names from patterns, numbers, texts, callbacks, and what each host returns of it."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.embedded.conftest import FLAVOUR, Host

On = Callable[[str], Callable[[Callable[..., Any]], Callable[..., Any]]]
TODAY = f"{datetime.datetime.now():%Y-%m-%d}"


@pytest.fixture
def opts(host: Host) -> dict[str, Any]:
    """The settings' values; those of the test are forgotten after it."""
    from modules import shared

    shared.opts.data["save_to_dirs"] = False
    return shared.opts.data


def _request(**more: Any) -> SimpleNamespace:
    fields = {"steps": 4, "cfg_scale": 5.0, "styles": [], "batch_size": 2, "batch_index": 1, "n_iter": 2}
    fields |= {"iteration": 1, "all_seeds": [7, 8, 9, 10], "sampler_name": "DPM++ 2M", "scheduler": "Karras"}
    fields |= {"negative_prompt": "bad", "prompt": "a cat", "denoising_strength": 0.6, "user": "eve"}
    return SimpleNamespace(**{**fields, "override_settings": {}, **more})


def _picture(width: int = 32, height: int = 24) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8))


def _save(folder: Path, seed: Any = 7, prompt: str | None = "a red cat", **more: Any) -> str:
    from modules import images

    given = {"image": _picture(), "path": str(folder), "basename": "", "extension": "png", "p": _request(), **more}
    name, _ = images.save_image(seed=seed, prompt=prompt, **given)
    return str(Path(name).relative_to(folder))


PATTERNS = {
    "[seed]-[steps]-[cfg]": "7-4-5.0",
    "[width]x[height]": "32x24",
    "[prompt]|[prompt_spaces]|[prompt_words]": "a_red,_cat_dog|a red, cat_dog|a red cat dog",
    "[seed_first]-[seed_last]": "7-10",
    "[batch_number] of [batch_size], [generation_number]": "2 of 2, 4",
    "[sampler]_[scheduler]_[sampler_scheduler]": "DPM++ 2M_Karras_DPM++ 2M Karras",
    "[denoising][user][none]x": "0.6evex",
    "[date]": TODAY,
    "[datetime<%Y>]": TODAY[:4],
    "[datetime<%Y><UTC>]": TODAY[:4],
    "[hasprompt<CAT|none><bird|no bird>]": "catno_bird",
    "[nothing]-[seed]": "[nothing]-7",
    "[styles]": "None",
    "[SEED]": "7",
    "[basename]": "img",
    "[full_prompt_hash<4>]": "0cba",
}


@pytest.mark.parametrize(("pattern", "name"), PATTERNS.items())
def test_fields_of_a_pattern(host: Host, pattern: str, name: str) -> None:
    from modules.images import FilenameGenerator

    p = _request(negative_prompt="", prompt="a red, cat/dog")
    if "hash" in pattern:
        import hashlib

        name = hashlib.sha256(b"a red, cat/dog ").hexdigest()[:4]
    assert FilenameGenerator(p, 7, "a red, cat/dog", _picture()).apply(pattern) == name


def test_a_field_without_sense_takes_the_text_before_it_along(host: Host) -> None:
    from modules.images import FilenameGenerator

    alone = _request(batch_size=1, n_iter=1, denoising_strength=None)
    pattern = "[seed] last [seed_last] number [batch_number] picture [generation_number] strength [denoising]."
    assert FilenameGenerator(alone, 7, "a cat", _picture()).apply(pattern) == "7."


def test_a_field_that_fails_stays_as_it_stands(host: Host) -> None:
    from modules.images import FilenameGenerator

    assert FilenameGenerator(None, 7, "a cat", _picture()).apply("[seed] [batch_size]") == "7 [batch_size]"


def test_names_by_default_have_a_number_and_the_seed(opts: dict[str, Any], tmp_path: Path) -> None:
    assert _save(tmp_path) == "00000-7-a red cat.png"
    assert _save(tmp_path) == "00001-7-a red cat.png"
    opts["save_to_dirs"] = True
    assert _save(tmp_path) == f"{TODAY}/00000-7.png"
    opts["directories_filename_pattern"] = "[prompt_words]/[seed] "
    assert _save(tmp_path, suffix="-dt") == "a red cat/7/00000-7-dt.png"
    assert _save(tmp_path, no_prompt=True) == f"{int(TODAY[:4]) + 1:05}-7.png"
    assert _save(tmp_path, basename="grid", grid=True, save_to_dirs=False, short_filename=True) == "grid-0000.png"
    opts["save_to_dirs"] = False
    assert _save(tmp_path, seed=None) == f"{int(TODAY[:4]) + 2:05}.png", "the folder of the day counts as a number"
    assert _save(tmp_path, forced_filename="mine", save_to_dirs=False) == "mine.png"


def test_a_pattern_of_the_request_wins(opts: dict[str, Any], tmp_path: Path) -> None:
    """On Forge it is looked up in the request; A1111 has put it into the settings while the request runs."""
    opts["samples_filename_pattern"] = "[steps]"
    asked = _request(override_settings={"samples_filename_pattern": "[cfg]"})
    assert _save(tmp_path, p=asked) == ("00000-5.0.png" if FLAVOUR == "forge" else "00000-4.png")


def test_without_a_number_a_file_that_is_there_is_replaced(opts: dict[str, Any], tmp_path: Path) -> None:
    opts.update(save_images_add_number=False, samples_filename_pattern="[seed]")
    assert _save(tmp_path) == _save(tmp_path) == "7.png"
    assert [x.name for x in tmp_path.iterdir()] == ["7.png"]
    opts["samples_filename_pattern"] = "[none]"
    assert _save(tmp_path) == "00008.png", "no name is left without a number"


def test_or_gets_a_number_behind_which_only_forge_tells(opts: dict[str, Any], tmp_path: Path) -> None:
    told = ["7.png", "7-1.png", "7-2.png"] if FLAVOUR == "forge" else ["7.png"] * 3
    opts.update(save_images_add_number=False, samples_filename_pattern="[seed]")
    opts["save_images_replace_action"] = "Add number suffix"
    assert [_save(tmp_path) for _ in range(3)] == told
    assert sorted(x.name for x in tmp_path.iterdir()) == ["7-1.png", "7-2.png", "7.png"]


def test_long_names_are_cut_with_their_path(opts: dict[str, Any], tmp_path: Path) -> None:
    from modules import images

    opts.update(save_images_add_number=False, samples_filename_pattern="[prompt][prompt]")
    assert images.sanitize_filename_part("a" * 300) == "a" * 128
    assert images.sanitize_filename_part(" a/b:c. ") == "_a_b_c._"
    name, _ = images.save_image(_picture(), str(tmp_path), "", 7, "a" * 200, "png", p=_request())
    assert len(name) == 255, "the path counts, as on the hosts"
    assert Path(name).exists()


def test_callbacks_may_change_picture_name_and_text(
    opts: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modules import images, script_callbacks

    told = []

    def before(params: Any) -> None:
        params.filename = params.filename.replace("00000", "renamed")
        params.pnginfo["more"] = "text"
        params.image = _picture(8, 8)

    monkeypatch.setattr(script_callbacks, "before_image_saved_callback", before)
    monkeypatch.setattr(script_callbacks, "image_saved_callback", lambda params: told.append(params.filename))
    opts["save_txt"] = True
    picture = _picture()
    name, txt = images.save_image(picture, str(tmp_path), "", 7, "a cat", "png", "the infotext", p=_request())
    assert name == told[0] == str(tmp_path / "renamed-7-a cat.png")
    assert txt == str(tmp_path / "renamed-7-a cat.txt")
    assert Path(txt).read_text() == "the infotext\n"
    written = Image.open(name)
    assert written.size == (8, 8)
    assert written.info["more"] == "text"
    assert not hasattr(picture, "already_saved_as"), "the picture that was written knows its file"


@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "gif"])
def test_every_format_carries_the_infotext(opts: dict[str, Any], tmp_path: Path, extension: str) -> None:
    from modules import images

    picture = _picture(64, 64) if extension != "gif" else _picture(64, 64).convert("P")
    name, _ = images.save_image(picture, str(tmp_path), "", 7, "a cat", extension, "the infotext", p=_request())
    written = Image.open(name)
    if extension == "gif":
        assert written.info["comment"] == b"the infotext"
    else:
        assert images.read_info_from_image(written)[0] == "the infotext"
    assert picture.already_saved_as == name  # type: ignore[attr-defined]
    assert not list(tmp_path.glob("*.tmp"))
    opts["enable_pnginfo"] = False
    name, _ = images.save_image(_picture(), str(tmp_path), "", 7, "a cat", "webp", "the infotext", p=_request())
    assert "exif" not in Image.open(name).info


def test_webp_may_be_without_loss(opts: dict[str, Any], tmp_path: Path) -> None:
    opts["webp_lossless"] = True
    name = _save(tmp_path, extension="webp")
    assert np.array_equal(np.asarray(Image.open(tmp_path / name).convert("RGB")), np.asarray(_picture()))


def test_what_is_too_large_for_webp_becomes_png(opts: dict[str, Any], tmp_path: Path) -> None:
    assert _save(tmp_path, image=Image.new("RGB", (16384, 8)), extension="webp").endswith(".png")


def test_a_large_picture_gets_a_smaller_jpeg_beside_it(opts: dict[str, Any], tmp_path: Path) -> None:
    opts["target_side_length"] = 16
    _save(tmp_path, info="the infotext")
    assert Image.open(tmp_path / "00000-7-a red cat.jpg").size == (16, 12)
    opts["export_for_4chan"] = False
    _save(tmp_path)
    assert not (tmp_path / "00001-7-a red cat.jpg").exists()


def test_saved_pictures_of_forge_hide_their_infotext_in_an_alpha_channel(host: Host, opts: dict[str, Any]) -> None:
    """Which the picture in hand has from then on too, and with it the one that the API returns."""
    from modules import images

    answer = host.client.post(
        "/sdapi/v1/txt2img", json={"steps": 1, "width": 64, "height": 64, "save_images": True, "seed": 5}
    ).json()
    saved = max((host.data / "outputs").rglob("*.png"), key=lambda x: x.stat().st_mtime_ns)
    picture = Image.open(saved)
    assert picture.mode == ("RGBA" if FLAVOUR == "forge" else "RGB")
    infotext = picture.info.pop("parameters")
    assert "Seed: 5" in infotext
    assert images.read_info_from_image(picture)[0] == (infotext if FLAVOUR == "forge" else None)
    assert answer["images"]
    opts["stealth_pnginfo_option"] = "None"
    host.txt2img(steps=1, save_images=True)
    saved = max((host.data / "outputs").rglob("*.png"), key=lambda x: x.stat().st_mtime_ns)
    assert Image.open(saved).mode == "RGB"
