"""Pictures of frames: decoded once, bounded, and failing without harm."""

from __future__ import annotations

import io
import time
from threading import Barrier, Lock, Thread

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from extension_core.errors import DiversityError
from extension_core.trajectory.frame_pictures import Decoder, DecodingFailed, NotRecorded, Picture, Pictures, View
from tests.unit.trajectory import Clock, hybrid, picture_of, plain, recorded

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

FRAMES = recorded(hybrid(4), images=2).frames()


class Counting:
    """Counts calls, and how many run at one time."""

    def __init__(self, side: int = 0, seconds: float = 0.0) -> None:
        self.calls = self.inside = self.most = 0
        self.lock = Lock()
        self.side, self.seconds = side, seconds

    def __call__(self, latent: torch.Tensor) -> Image.Image:
        with self.lock:
            self.calls += 1
            self.inside += 1
            self.most = max(self.most, self.inside)
        picture = picture_of(latent)
        time.sleep(self.seconds)
        with self.lock:
            self.inside -= 1
        return picture.resize((self.side, self.side)) if self.side else picture


def test_panel_pictures_are_small_and_full_size_is_lossless() -> None:
    decoder, pictures = Decoder("large", Counting(600)), Pictures()
    for view, signature in ((View(0), b"\xff\xd8\xff"), (View(0, form="webp"), b"RIFF")):
        picture = pictures.get(FRAMES[0], view, decoder)
        assert picture.media_type == f"image/{view.form}"
        assert picture.content.startswith(signature)
        assert picture.opened().size == (256, 256)
    full = pictures.get(FRAMES[3], View(1, side=None), plain())
    assert (full.media_type, full.content[:4]) == ("image/png", b"\x89PNG")
    assert np.array_equal(np.asarray(full.opened()), np.asarray(picture_of(FRAMES[3].latents()[1])))
    assert pictures.get(FRAMES[0], View(0), plain()).opened().size == (96, 64), "never enlarged"


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 12), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=6))
def test_each_picture_is_decoded_once_however_many_ask(threads: int, wanted: list[tuple[int, int]]) -> None:
    counting, pictures = Counting(), Pictures()
    decoder, start = Decoder("counting", counting), Barrier(threads)
    got: list[list[Picture]] = [[] for _ in range(threads)]

    def ask(mine: list[Picture]) -> None:
        start.wait()
        mine.extend(pictures.get(FRAMES[number], View(image), decoder) for number, image in wanted)

    workers = [Thread(target=ask, args=(mine,)) for mine in got]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert counting.calls == len(set(wanted))
    assert all(mine == got[0] for mine in got)


def test_a_decoder_works_for_one_at_a_time() -> None:
    counting = Counting(seconds=0.01)
    decoder = Decoder("counting", counting)
    workers = [Thread(target=Pictures().get, args=(frame, View(0), decoder)) for frame in FRAMES]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (counting.calls, counting.most) == (4, 1)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), st.sampled_from([128, None])), max_size=20))
@settings(max_examples=40, deadline=None)
def test_the_memory_of_pictures_is_bounded(asked: list[tuple[int, int, int | None]]) -> None:
    one = len(Pictures().get(FRAMES[0], View(0), plain()).content)
    pictures = Pictures(nbytes=int(2.5 * one))
    for number, image, side in asked:
        picture = pictures.get(FRAMES[number], View(image, side=side), plain())
        assert picture.content
        assert pictures.nbytes <= int(2.5 * one)


def test_what_was_not_looked_at_for_longest_goes_first() -> None:
    counting = Counting()
    decoder = Decoder("counting", counting)
    one = len(Pictures().get(FRAMES[0], View(0), decoder).content)
    pictures = Pictures(nbytes=2 * one + one // 2)
    for number in (0, 1, 0, 2, 0):
        pictures.get(FRAMES[number], View(0), decoder)
    assert counting.calls == 4, "the first was kept as it was looked at"
    pictures.get(FRAMES[1], View(0), decoder)
    assert counting.calls == 5
    tiny = Pictures(nbytes=1)
    tiny.get(FRAMES[0], View(0), decoder)
    assert tiny.nbytes == 0


def test_tags_follow_the_picture() -> None:
    pictures = Pictures()
    first, same, other = (pictures.get(FRAMES[0], View(image), plain()).etag for image in (0, 0, 1))
    assert first == same != other


def test_what_the_frame_does_not_hold_is_refused() -> None:
    pictures = Pictures()
    for view in (View(2), View(-1), View(0, "cond")):
        with pytest.raises(NotRecorded, match="Frame 0"):
            pictures.get(FRAMES[0], view, plain())
    for side in (0, 255, 257, 100_000):
        with pytest.raises(DiversityError, match="only of 128, 256"):
            View(0, side=side)
    with pytest.raises(DiversityError, match="jpeg or webp"):
        View(0, form="gif")  # pyright: ignore[reportArgumentType]


class Failing:
    def __init__(self, times: int, error: BaseException) -> None:
        self.times, self.error, self.calls = times, error, 0

    def __call__(self, latent: torch.Tensor) -> Image.Image:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return picture_of(latent)


def test_a_failing_decoder_rests_and_is_given_up_after_three_tries() -> None:
    clock = Clock()
    failing, pictures = Failing(99, RuntimeError("CUDA out of memory.\nmore")), Pictures(clock=clock)
    decoder = Decoder("TAESD", failing)
    for _ in range(500):
        with pytest.raises(DecodingFailed, match=r"^TAESD could not decode frame 0 \(memory ran out\); "):
            pictures.get(FRAMES[0], View(0), decoder)
        clock.now += 0.1
    assert failing.calls == 3
    with pytest.raises(DecodingFailed):
        pictures.get(FRAMES[1], View(0), decoder)
    assert failing.calls == 4, "another picture has its own tries"
    assert pictures.get(FRAMES[0], View(0), plain()).content, "another decoder still works"


def test_while_it_rests_no_other_picture_is_tried() -> None:
    clock = Clock()
    failing = Failing(1, RuntimeError("busy"))
    decoder, pictures = Decoder("VAE", failing), Pictures(clock=clock)
    for frame in FRAMES:
        with pytest.raises(DecodingFailed, match="the log says what went wrong"):
            pictures.get(frame, View(0), decoder)
    assert failing.calls == 1
    clock.now = 5.0
    for frame in FRAMES:
        assert pictures.get(frame, View(0), decoder).content


def test_a_decoder_that_is_stopped_leaves_nobody_waiting() -> None:
    clock = Clock()
    pictures, decoder = Pictures(clock=clock), Decoder("VAE", Failing(1, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        pictures.get(FRAMES[0], View(0), decoder)
    with pytest.raises(DecodingFailed, match="was stopped"):
        pictures.get(FRAMES[0], View(0), decoder)
    clock.now = 6.0
    assert pictures.get(FRAMES[0], View(0), decoder).content


def test_all_who_wait_for_a_failing_picture_are_told() -> None:
    start, told, lock = Barrier(6), [], Lock()
    failing, pictures = Failing(1, ValueError("nan")), Pictures(clock=Clock())
    decoder = Decoder("VAE", failing)

    def ask() -> None:
        start.wait()
        try:
            pictures.get(FRAMES[0], View(0), decoder)
        except DecodingFailed as error:
            with lock:
                told.append(str(error))

    workers = [Thread(target=ask) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(told) == 6
    assert failing.calls == 1


def test_pixels_of_a_section_reuse_what_the_panel_showed() -> None:
    counting, pictures = Counting(), Pictures()
    decoder = Decoder("counting", counting)
    pictures.get(FRAMES[0], View(0), decoder)
    for side, shape in ((256, (4, 2, 64, 96, 3)), (48, (4, 2, 32, 48, 3))):
        pixels = pictures.pixels(FRAMES, decoder, side=side)
        assert pixels.shape == shape
        assert pixels.dtype == np.uint8
        for step in range(4):
            for image in range(2):
                level = round((step + 1) / 4 * (image + 1) / 2 * 255)
                assert np.abs(pixels[step, image].astype(int) - level).max() <= 3
    assert counting.calls == 8
    with pytest.raises(ValueError, match="0 frames"):
        pictures.pixels((), decoder)
    with pytest.raises(ValueError, match="all with the same images"):
        pictures.pixels((*FRAMES, *recorded(hybrid(1), images=1).frames()), decoder)


def test_pictures_have_no_alpha_and_no_metadata() -> None:
    decoder = Decoder("rgba", lambda latent: picture_of(latent).convert("RGBA"))
    content = Pictures().get(FRAMES[0], View(0), decoder).content
    with Image.open(io.BytesIO(content)) as opened:
        assert opened.mode == "RGB"
        assert not opened.getexif()
