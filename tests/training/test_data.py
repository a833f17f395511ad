"""Pictures and prompts from where users have them, brought to a few sizes and encoded once."""

from __future__ import annotations

import errno
import io
import json
import math
import tarfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from extension_core.errors import DiversityError
from extension_core.training import whole_files
from extension_core.training.data.buckets import Size, fit, size_for, sizes_of
from extension_core.training.data.cache import Cache
from extension_core.training.data.cached import PromptsOnly, by_size
from extension_core.training.data.pictures import from_folder, from_parquet, from_shards, read_prompts
from extension_core.training.denoiser import Conditioning
from tests.training.small import make_pictures


def encoded(
    width: int = 8, height: int = 8, mode: str = "RGB", kind: str = "PNG", colour: Any = 200, **more: Any
) -> bytes:
    data = io.BytesIO()
    Image.new(mode, (width, height), colour).save(data, kind, **more)
    return data.getvalue()


class TestFolder:
    def test_captions_lie_beside_the_pictures_in_folders_too(self, tmp_path: Path) -> None:
        (tmp_path / "b").mkdir()
        for name in ("z.PNG", "b/a.jpg", "b/ä.webp"):
            kind = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}[name.rsplit(".")[-1].lower()]
            (tmp_path / name).write_bytes(encoded(kind=kind, colour=(200, 0, 0)))
            (tmp_path / name).with_suffix(".txt").write_text(f"of {name},\n  red ", encoding="utf-8")
        (tmp_path / "notes.md").write_text("no picture")
        found = from_folder(tmp_path, "required")
        assert [(p.name, p.caption) for p in found] == [
            (name, f"of {name}, red") for name in ("b/a.jpg", "b/ä.webp", "z.PNG")
        ]
        assert [found[index].open().size for index in range(3)] == [(8, 8)] * 3

    def test_a_caption_that_is_missing_is_told_or_empty(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(encoded())
        with pytest.raises(
            DiversityError, match=r"a.png has no caption \(no a.txt beside it\); write one, or set data"
        ):
            from_folder(tmp_path, "required")
        assert from_folder(tmp_path, "empty")[0].caption == ""

    def test_captions_of_other_tools_are_read(self, tmp_path: Path) -> None:
        """kohya's own ending, and the mark that Windows' editor puts before a text."""
        for name in "ab":
            (tmp_path / f"{name}.png").write_bytes(encoded())
        (tmp_path / "a.caption").write_text("a red cat")
        (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbfa blue dog\r\n")
        assert [picture.caption for picture in from_folder(tmp_path, "required")] == ["a red cat", "a blue dog"]
        (tmp_path / "b.txt").write_bytes("ein grüner Hund".encode("latin-1"))
        with pytest.raises(DiversityError, match=r"The caption b.txt cannot be read; save it as UTF-8 text"):
            from_folder(tmp_path, "required")

    def test_no_folder_and_no_pictures_are_told(self, tmp_path: Path) -> None:
        with pytest.raises(DiversityError, match=r"is no folder; name one with pictures in data\.pictures"):
            from_folder(tmp_path / "nowhere", "required")
        with pytest.raises(DiversityError, match="holds no png, jpg, jpeg, webp, bmp; name a folder"):
            from_folder(tmp_path, "required")

    def test_pictures_are_upright_and_opaque(self, tmp_path: Path) -> None:
        turned = Image.new("RGB", (20, 10), "red")
        exif = turned.getexif()
        exif[0x0112] = 6  # to be turned by 90 degrees
        turned.save(tmp_path / "turned.jpg", exif=exif)
        (tmp_path / "clear.png").write_bytes(encoded(mode="RGBA", colour=(0, 0, 0, 0)))
        (tmp_path / "palette.png").write_bytes(encoded(mode="P", colour=0, transparency=0))
        (tmp_path / "grey.png").write_bytes(encoded(mode="I;16", colour=0))
        opened = {picture.name: picture.open() for picture in from_folder(tmp_path, "empty")}
        assert opened["turned.jpg"].size == (10, 20)
        assert opened["clear.png"].getpixel((0, 0)) == (255, 255, 255)
        assert opened["palette.png"].getpixel((0, 0)) == (255, 255, 255)
        assert {picture.mode for picture in opened.values()} == {"RGB"}

    @pytest.mark.parametrize("data", [b"", b"<html>", encoded(64, 64)[:60], encoded(64, 64, kind="JPEG")[:300]])
    def test_a_damaged_picture_is_named(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "bad.png").write_bytes(data)
        with pytest.raises(
            DiversityError, match=r"The picture bad.png cannot be read \(it is damaged, or no picture\);"
        ):
            from_folder(tmp_path, "empty")[0].open()


class TestShards:
    def write(self, path: Path, samples: dict[str, bytes]) -> None:
        with tarfile.open(path, "w") as tar:
            for name, data in samples.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))

    def test_samples_of_several_shards(self, tmp_path: Path) -> None:
        for shard in range(2):
            told = json.dumps({"caption": f"json {shard}"}).encode()
            samples = {"a.jpg": encoded(kind="JPEG"), "a.txt": b"of text ", "b.png": encoded(9, 7), "b.json": told}
            self.write(tmp_path / f"{shard:02d}.tar", {f"{shard}{name}": data for name, data in samples.items()})
        found = list(from_shards(str(tmp_path / "{00..01}.tar"), "required"))
        assert [(p.name, p.caption, p.open().size) for p in found] == [
            ("0a", "of text", (8, 8)), ("0b", "json 0", (9, 7)), ("1a", "of text", (8, 8)), ("1b", "json 1", (9, 7))
        ]  # fmt: skip
        assert len({p.key for p in found}) == 4

    def test_what_cannot_be_read_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(DiversityError, match="cannot be read"):
            list(from_shards(str(tmp_path / "nowhere.tar"), "required"))
        self.write(tmp_path / "bare.tar", {"a.jpg": encoded(kind="JPEG")})
        with pytest.raises(DiversityError, match=r"The picture a has no caption \(none with it\)"):
            list(from_shards(str(tmp_path / "bare.tar"), "required"))


class TestParquet:
    @pytest.mark.parametrize("as_bytes", [True, False], ids=["bytes", "image structs"])
    @pytest.mark.parametrize("column", ["text", "caption"])
    def test_rows(self, tmp_path: Path, as_bytes: bool, column: str) -> None:
        data = [encoded(8, 8), encoded(12, 6)]
        rows: dict[str, Any] = {
            column: ["one", "two"],
            "image": data if as_bytes else [{"bytes": x, "path": None} for x in data],
        }
        table = datasets.Dataset.from_dict(rows)
        if not as_bytes:
            table = table.cast_column("image", datasets.Image())
        table.to_parquet(str(tmp_path / "t.parquet"))
        found = list(from_parquet(str(tmp_path / "t.parquet"), "required"))
        assert [(p.name, p.caption, p.open().size) for p in found] == [
            ("row 0", "one", (8, 8)),
            ("row 1", "two", (12, 6)),
        ]

    def test_a_column_that_is_missing_is_told(self, tmp_path: Path) -> None:
        datasets.Dataset.from_dict({"picture": [b"x"], "text": ["a"]}).to_parquet(str(tmp_path / "t.parquet"))
        with pytest.raises(
            DiversityError, match="has the columns picture, text and no image; rename them to image and"
        ):
            list(from_parquet(str(tmp_path / "t.parquet"), "required"))
        (tmp_path / "bad.parquet").write_bytes(b"no table")
        with pytest.raises(DiversityError, match=r"bad.parquet cannot be read as parquet; check data.parquet"):
            list(from_parquet(str(tmp_path / "bad.parquet"), "required"))


def test_prompts_are_lines(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("# mine\n\n a red cat \na blue dog\na red cat\n", encoding="utf-8")
    assert read_prompts(path) == ["a red cat", "a blue dog"]
    path.write_text("# none\n")
    with pytest.raises(DiversityError, match="holds no prompt; write one a line"):
        read_prompts(path)
    with pytest.raises(DiversityError, match="cannot be read as UTF-8 text"):
        read_prompts(tmp_path / "nowhere.txt")


class TestSizes:
    @given(st.integers(16, 2048), st.sampled_from([8, 16, 64]), st.floats(1, 4))
    def test_they_are_multiples_within_the_area(self, resolution: int, step: int, widest: float) -> None:
        sizes = sizes_of(resolution, step, widest)
        side = max(step, resolution // step * step)
        assert Size(side, side) in sizes
        for size in sizes:
            assert size.height % step == size.width % step == 0
            assert size.height * size.width <= side**2
            assert max(size.ratio, 1 / size.ratio) <= widest + 1e-9
            assert Size(size.width, size.height) in sizes

    def test_those_of_512_and_1024_are_the_usual_ones(self) -> None:
        assert {Size(512, 512), Size(448, 576), Size(384, 640), Size(640, 384)} <= set(sizes_of(512))
        assert {Size(1024, 1024), Size(896, 1152), Size(832, 1216), Size(768, 1344)} <= set(sizes_of(1024))

    @given(st.integers(1, 3000), st.integers(1, 3000))
    def test_a_picture_goes_where_its_ratio_is_nearest(self, width: int, height: int) -> None:
        sizes = sizes_of(512)
        chosen = size_for(width, height, sizes)
        apart = [abs(math.log(size.ratio * height / width)) for size in sizes]
        assert abs(math.log(chosen.ratio * height / width)) == min(apart)

    @given(st.integers(8, 90), st.integers(8, 90), st.sampled_from(sizes_of(32, 8)))
    def test_a_picture_covers_its_size_and_what_stands_over_is_cut_alike(
        self, width: int, height: int, size: Size
    ) -> None:
        across = np.linspace(0, 255, width)[None].repeat(height, 0)
        down = np.linspace(0, 255, height)[:, None].repeat(width, 1)
        picture = Image.fromarray(np.stack([across, down, np.full_like(across, 128)], axis=2).round().astype(np.uint8))
        fitted = fit(picture, size)
        assert fitted.pixels.shape == (3, size.height, size.width)
        assert fitted.told[:2] == (height, width)
        assert fitted.told[4:] == (size.height, size.width)
        assert (fitted.told[2] == 0) or (fitted.told[3] == 0), "one side fits exactly"
        assert fitted.pixels.abs().max() <= 1
        middle = fitted.pixels.mean(dim=(1, 2))
        assert torch.allclose(middle[:2], torch.zeros(2), atol=0.15), "the cut is central"

    def test_a_picture_that_fits_is_not_resampled(self) -> None:
        pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        fitted = fit(Image.fromarray(pixels), Size(32, 32))
        assert torch.equal(
            ((fitted.pixels + 1) * 127.5).round().to(torch.uint8), torch.from_numpy(pixels).permute(2, 0, 1)
        )


class Counting:
    """A real, small encoder that tells how often it was asked."""

    def __init__(self, identity: str = "one") -> None:
        self.identity = identity
        self.asked: list[str] = []
        torch.manual_seed(0)
        self._convolution = torch.nn.Conv2d(3, 4, 8, stride=8)

    @torch.no_grad()
    def encode_picture(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        self.asked.append("picture")
        latent = self._convolution(pixels[None])[0]
        return latent + 0.1 * torch.randn(latent.shape, generator=generator)

    def encode_prompt(self, prompt: str) -> Conditioning:
        self.asked.append(prompt)
        return {"prompt_embeds": torch.full((5, 2), float(len(prompt)))}


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.safetensors")}


class TestCache:
    SIZES = sizes_of(32, 8)

    def cache(self, tmp_path: Path, encoder: Counting, folder: str = "cache") -> Cache:
        return Cache(tmp_path / folder, encoder, self.SIZES)

    def test_nothing_is_encoded_twice(self, tmp_path: Path) -> None:
        pictures = from_folder(make_pictures(tmp_path / "pictures"), "required")
        first, second = Counting(), Counting()
        entries = self.cache(tmp_path, first).add(pictures, False)
        assert first.asked.count("picture") == 6
        assert sorted(set(first.asked)) == ["a thing 0", "a thing 1", "a thing 2", "picture"]
        assert len(first.asked) == 9
        assert self.cache(tmp_path, second).add(pictures, False) == entries
        assert second.asked == []

    def test_a_run_that_was_interrupted_anywhere_ends_in_the_same_files(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pictures = from_folder(make_pictures(tmp_path / "pictures"), "required")
        self.cache(tmp_path, Counting(), "whole").add(pictures, False)
        write = whole_files.os.fsync
        for at in range(1, 9):
            left = at

            def interrupted(handle: int) -> None:
                nonlocal left
                left -= 1
                if left == 0:
                    raise KeyboardInterrupt
                write(handle)

            with monkeypatch.context() as patched:
                patched.setattr(whole_files.os, "fsync", interrupted)
                with pytest.raises(KeyboardInterrupt):
                    self.cache(tmp_path, Counting(), f"broken {at}").add(pictures, False)
            again = Counting()
            self.cache(tmp_path, again, f"broken {at}").add(pictures, False)
            assert len(again.asked) == 10 - at
            assert files(tmp_path / f"broken {at}") == files(tmp_path / "whole")

    def test_a_full_disk_is_one_sentence_also_where_bad_pictures_are_skipped(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pictures = from_folder(make_pictures(tmp_path / "pictures"), "required")

        def full(_handle: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(whole_files.os, "fsync", full)
        with pytest.raises(
            DiversityError, match=r"cannot be written \(No space left on device\); what was saved before"
        ):
            self.cache(tmp_path, Counting()).add(pictures, True)

    def test_what_has_changed_is_encoded_again(self, tmp_path: Path) -> None:
        folder = make_pictures(tmp_path / "pictures")
        self.cache(tmp_path, Counting()).add(from_folder(folder, "required"), False)
        (folder / "0.png").write_bytes(encoded(50, 50))
        (folder / "1.txt").write_text("another caption")
        (folder / "2.png").unlink()
        again = Counting()
        entries = self.cache(tmp_path, again).add(from_folder(folder, "required"), False)
        assert sorted(again.asked) == ["another caption", "picture"]
        assert len(entries) == 5
        other = Counting("two")
        self.cache(tmp_path, other).add(from_folder(folder, "required"), False)
        assert other.asked.count("picture") == 5

    def test_a_file_that_was_cut_off_is_made_again(self, tmp_path: Path) -> None:
        pictures = from_folder(make_pictures(tmp_path / "pictures"), "required")
        entries = self.cache(tmp_path, Counting()).add(pictures, False)
        whole = entries[0].latent.read_bytes()
        entries[0].latent.write_bytes(whole[: len(whole) // 2])
        again = Counting()
        self.cache(tmp_path, again).add(pictures, False)
        assert again.asked == ["picture"]
        assert entries[0].latent.read_bytes() == whole

    def test_bad_pictures_are_skipped_where_that_is_wished(self, tmp_path: Path) -> None:
        folder = make_pictures(tmp_path / "pictures")
        (folder / "3.png").write_bytes(b"no picture")
        (folder / "4.png").write_bytes(encoded(3, 3))
        with pytest.raises(DiversityError, match=r"The picture 3.png cannot be read"):
            self.cache(tmp_path, Counting()).add(from_folder(folder, "required"), False)
        assert len(self.cache(tmp_path, Counting()).add(from_folder(folder, "required"), True)) == 4
        (folder / "3.png").unlink()
        with pytest.raises(
            DiversityError, match=r"4.png has 3 x 3 pixels, too few for 32 x 32; take it out, lower data"
        ):
            self.cache(tmp_path, Counting()).add(from_folder(folder, "required"), False)

    def test_data_are_drawn_by_size_with_what_belongs_to_each_picture(self, tmp_path: Path) -> None:
        encoder = Counting()
        cache = self.cache(tmp_path, encoder)
        entries = cache.add(from_folder(make_pictures(tmp_path / "pictures", 9), "required"), False)
        parts = by_size(entries, cache, sized=True)
        assert sum(len(part.entries) for part in parts) == 9
        for part in parts:
            latents, numbers = part.draw(5, torch.Generator().manual_seed(0))
            assert latents.shape == (5, *part.shape)
            assert latents.dtype == torch.float32
            told = part.conditioning(numbers)
            for row, number in enumerate(numbers.tolist()):
                entry = part.entries[number]
                assert told["prompt_embeds"][row, 0, 0] == len(entry.prompt)
                assert told["time_ids"][row].tolist() == list(entry.told)
                assert part.shape[1:] == (entry.size.height // 8, entry.size.width // 8)
        assert encoder.asked.count("picture") == 9

    def test_prompts_alone_have_no_pictures(self, tmp_path: Path) -> None:
        data = PromptsOnly(["a", "bcd"], self.cache(tmp_path, Counting()), (4, 4, 4), (32, 32, 0, 0, 32, 32))
        numbers = data.draw_prompts(50, torch.Generator().manual_seed(0))
        told = data.conditioning(numbers)
        assert set(told["prompt_embeds"][:, 0, 0].tolist()) == {1.0, 3.0}
        assert told["time_ids"].shape == (50, 6)
        with pytest.raises(DiversityError, match=r"and its data are prompts alone; give data\.pictures"):
            data.draw(1, torch.Generator())
