"""Strips of a recording: which frames they show, how large, what they say is missing, and how much RAM they take."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from extension_core.hosts.common.preview import strips as subject
from extension_core.hosts.common.preview.strips import strips_of
from extension_core.trajectory.frame_pictures import Decoder
from extension_core.trajectory.frames import Section
from extension_core.trajectory.recorder import Limits, Recorder
from extension_core.trajectory.store import Generation, State, Store
from extension_core.trajectory.thinning import Thinning
from tests.unit.trajectory import colours, hybrid, picture_of, plain

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

HIRES = Section("hires pass")


def generation(recorder: Recorder) -> Generation:
    return Store().open("", recorder=recorder)


def filled(steps: int = 4, images: int = 2, **limits: int) -> Recorder:
    recorder = Recorder(Limits(**limits))
    for number, tag in enumerate(hybrid(steps)):
        recorder.add(tag, colours(images, (number + 1) / steps))
    return recorder


def shown(made: subject.Strips) -> list[list[int]]:
    return [[frame.number for frame in strip.frames] for strip in made.strips]


def test_each_section_is_a_strip_of_its_own_size() -> None:
    recorder = filled(3)
    for tag in hybrid(2, section=HIRES):
        recorder.add(tag, torch.zeros(2, 3, 16, 24))
    made = strips_of(generation(recorder), plain())
    assert shown(made) == [[0, 1, 2], [3, 4]]
    assert [strip.pictures.shape for strip in made.strips] == [(3, 2, 64, 96, 3), (2, 2, 128, 192, 3)]
    assert made.missing == ""
    expected = np.asarray(picture_of(colours(2, 2 / 3)[1]))
    assert np.abs(made.strips[0].pictures[1, 1].astype(int) - expected).max() <= 3, "but for JPEG"


def test_batches_of_different_size_are_different_strips() -> None:
    recorder = Recorder()
    for batch, images in enumerate((2, 1)):
        for tag in hybrid(2, section=Section("first pass", batch, 2)):
            recorder.add(tag, colours(images))
    made = strips_of(generation(recorder), plain())
    assert [strip.pictures.shape[:2] for strip in made.strips] == [(2, 2), (2, 1)]


def test_a_strip_says_what_was_dropped_and_how_it_ended() -> None:
    made_of = generation(filled(6, frames=4))
    made_of.finish(State.INTERRUPTED, "The generation was interrupted.")
    made = strips_of(made_of, plain())
    assert shown(made) == [[2, 3, 4, 5]]
    assert made.missing.startswith("The generation was interrupted. The oldest 2 frames were dropped")
    assert made.sheet("").height > strips_of(generation(filled(4)), plain()).sheet("").height


def test_thinned_recordings_show_what_is_kept() -> None:
    recorder = Recorder(thinning=Thinning(every=3))
    for tag in hybrid(8, 2):
        recorder.add(tag, colours())
    assert shown(strips_of(generation(recorder), plain())) == [[0, 2, 3, 6, 7]]


def test_an_empty_recording_has_no_strip() -> None:
    made = strips_of(generation(Recorder()), plain())
    assert (made.strips, made.missing) == ((), "No frame was recorded.")


def test_frames_that_cannot_be_decoded_are_left_out() -> None:
    calls: list[int] = []

    def fragile(latent: torch.Tensor) -> Image.Image:
        calls.append(1)
        if len(calls) > 4:
            raise MemoryError("no memory")
        return picture_of(latent)

    made = strips_of(generation(filled(4)), Decoder("fragile", fragile))
    assert shown(made) == [[0, 1]]
    assert made.missing.startswith("2 of 4 frames are not shown: fragile could not decode frame 2 (memory ran out)")
    assert len(calls) == 5, "what failed is not asked again and again"
    nothing = strips_of(generation(filled(4)), Decoder("broken", lambda latent: 1 / 0))  # type: ignore[arg-type,return-value]
    assert nothing.strips == ()
    assert "4 of 4 frames are not shown" in nothing.missing


def test_too_many_frames_are_thinned_but_for_ends_and_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "PICTURES_NBYTES", 20 * 128 * 128 * 3)
    recorder = Recorder()
    for tag in [*hybrid(20, 5), *hybrid(6, section=HIRES)]:
        recorder.add(tag, colours(2))
    made = strips_of(generation(recorder), plain())
    assert sum(len(strip.frames) * 2 for strip in made.strips) <= 20
    first, second = shown(made)
    assert {0, 5, 19} <= set(first)
    assert {20, 21, 25} <= set(second)
    assert f"{len(first) + len(second)} of 26 frames are shown, as 52 pictures are too many." in made.missing


def test_many_pictures_are_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    recorder.add(hybrid(1)[0], torch.zeros(2, 3, 64, 64))
    made_of = generation(recorder)
    sides = []
    for room in (256, 192, 128):
        monkeypatch.setattr(subject, "PICTURES_NBYTES", 2 * room**2 * 3)
        sides.append(strips_of(made_of, plain()).strips[0].pictures.shape[2])
    assert sides == [256, 192, 128]


_PEAK = """
import json, resource, sys
import torch
from PIL import Image
from extension_core.hosts.common.preview.strips import strips_of
from extension_core.trajectory.frame_pictures import Decoder
from extension_core.trajectory.recorder import Recorder
from extension_core.trajectory.store import Store
from tests.unit.trajectory import hybrid

noise = Image.effect_noise((128, 128), 40).convert("RGB")
recorder = Recorder()
for tag in hybrid(50, 10):
    recorder.add(tag, torch.zeros(64, 4, 8, 8))
generation = Store().open("", recorder=recorder)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
made = strips_of(generation, Decoder("noise", lambda latent: noise))
sheet = made.sheet("a cat")
size = sheet.size
sheet.save("/dev/null", "PNG", compress_level=1)
del sheet
content = made.animation()
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
shape = made.strips[0].pictures.shape
print(json.dumps({"mib": (after - before) / 1024, "shape": shape, "size": size, "missing": made.missing}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
def test_64_images_of_50_steps_take_less_than_512_mib() -> None:
    """Pictures 192 MiB, sheet as much again, 64 MiB of kept JPEGs, and what libraries need to write them."""
    ran = subprocess.run([sys.executable, "-c", _PEAK], capture_output=True, text=True, check=True)
    told = json.loads(ran.stdout)
    assert told["shape"] == [50, 64, 128, 128, 3], "all of them are shown"
    assert max(told["size"]) <= 16383
    assert told["missing"] == ""
    assert told["mib"] < 512
