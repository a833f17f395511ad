"""Recording: what is kept, what it costs, and that readers wait while the sampler does not."""

from __future__ import annotations

import json
import weakref
from threading import Event, Thread
from unittest.mock import MagicMock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from extension_core.errors import DiversityError
from extension_core.trajectory.copying import DirectCopier, EventCopier, copier_for
from extension_core.trajectory.frames import FrameInfo, Position, Section, Tag
from extension_core.trajectory.recorder import MIB, Limits, Recorder
from extension_core.trajectory.thinning import Thinning
from tests.unit.trajectory import DeferredCopier, colours, hybrid, recorded, tag
from tests.waiting import PATIENCE

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks


def latents(value: float = 1.0, images: int = 1, side: int = 2) -> torch.Tensor:
    return torch.full((images, 4, side, side), float(value))


def numbers(recorder: Recorder) -> list[int]:
    return [frame.info.number for frame in recorder.frames()]


class MetaCopier:
    """Copies of the size of the source that take no memory."""

    def copy(self, source: torch.Tensor) -> tuple[torch.Tensor, None]:
        return torch.empty_like(source, device="meta"), None


# So few bytes a frame that none is kept exactly.
TIGHT = Limits(frames=64, nbytes=1024)
Added = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 6), st.booleans()), min_size=1, max_size=30)


@given(Added, st.integers(1, 8), st.integers(1, 4000), st.booleans())
def test_bounds_hold_after_every_frame_and_the_newest_stays(
    added: list[tuple[int, int, bool]], most: int, nbytes: int, late: bool
) -> None:
    copier = DeferredCopier()
    recorder = Recorder(Limits(most, nbytes), copier=copier if late else DirectCopier())
    for number, (images, side, with_cond) in enumerate(added):
        values = latents(number, images, side)
        recorder.add(tag(number, len(added)), values, values if with_cond else None)
        frames = recorder.frames()
        assert frames[-1].info.number == number
        assert len(frames) <= most
        assert recorder.nbytes <= max(nbytes, frames[-1].nbytes)
        assert numbers(recorder) == list(range(number + 1 - len(frames), number + 1)), "the oldest go first"
        assert recorder.snapshot().dropped == number + 1 - len(frames)
        if number % 3 == 0:
            copier.run()
    for frame in recorder.frames():
        assert bool((frame.latents() == frame.info.number).all())
    assert ("were dropped" in recorder.missing() or "was dropped" in recorder.missing()) == (
        len(added) > len(recorder.frames())
    )


def test_64_images_of_50_steps_fit_and_take_400_mib() -> None:
    """The bound that `Limits` states."""
    recorder, values = Recorder(copier=MetaCopier()), torch.empty(64, 4, 128, 128, device="meta", dtype=torch.float16)
    for step in range(50):
        recorder.add(tag(step, 50), values)
    assert (len(recorder.frames()), recorder.nbytes) == (50, 400 * MIB)
    recorder = Recorder(copier=MetaCopier())
    for step in range(50):
        recorder.add(tag(step, 50), values, values, values)
    assert (len(recorder.frames()), recorder.nbytes) == (21, 504 * MIB)
    assert recorder.missing() == "The oldest 29 frames were dropped, as at most 512 frames and 512 MiB are kept."


def test_a_reader_waits_for_the_copy_and_the_sampler_does_not() -> None:
    copier = DeferredCopier()
    recorder = Recorder(TIGHT, copier=copier)
    for step in range(4):
        recorder.add(tag(step), latents(step))
    assert not any(event.waited for event in copier.events)
    frame = recorder.frames()[2]
    assert frame.latents().dtype == torch.float16
    assert bool((frame.latents() == 2).all())
    assert [event.waited for event in copier.events] == [False, False, True, False]


def test_what_has_arrived_leaves_page_locked_memory() -> None:
    """The memory that a copy lands in is let go with the next step, so little of it is ever taken."""
    copier = DeferredCopier()
    recorder = Recorder(TIGHT, copier=copier)
    for step in range(6):
        recorder.add(tag(step, 6), latents(step))
        copier.run()
    landing = [event.target.data_ptr() for event in copier.events]
    held = [recorder.frames()[step].latents().data_ptr() for step in range(5)]
    assert not set(landing) & set(held)
    assert recorder.nbytes == 5 * 4 * 4 * 2 + 4 * 4 * 4, "the last is still in the precision it came in"
    recorder.settle()
    assert recorder.nbytes == 6 * 4 * 4 * 2


@pytest.mark.parametrize("copier", [DirectCopier(), DeferredCopier()])
def test_the_tensor_may_change_or_go_afterwards(copier: DirectCopier | DeferredCopier) -> None:
    recorder, values = Recorder(copier=copier), latents(3)
    gone = weakref.ref(values)
    recorder.add(tag(), values)
    values.zero_()
    del values
    assert gone() is None
    assert bool((recorder.frames()[0].latents() == 3).all())


def test_values_taken_in_inference_mode_serve_outside_it() -> None:
    for copier in (DirectCopier(), DeferredCopier()):
        recorder = Recorder(copier=copier)
        with torch.inference_mode():
            recorder.add(tag(), latents(2.0))
            copier.run() if isinstance(copier, DeferredCopier) else None
            recorder.settle()
        weight = torch.nn.Parameter(torch.ones(4))
        (recorder.frames()[0].latents()[0, :, 0, 0] * weight).sum().backward()
        assert weight.grad is not None


def test_half_precision_is_what_the_docstring_says() -> None:
    values = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0)) * 8
    recorder = Recorder(TIGHT)
    recorder.add(tag(), values)
    assert torch.allclose(recorder.frames()[0].latents().float(), values, rtol=2**-11, atol=1e-6)


def test_small_frames_are_kept_exactly() -> None:
    """3 predictions of 5 images of 512 x 512 pixels are, of 6 are not."""
    for images, exact in ((5, True), (6, False)):
        recorder, values = Recorder(), torch.randn(images, 4, 64, 64, generator=torch.Generator().manual_seed(0))
        recorder.add(tag(), values, values, values)
        assert torch.equal(recorder.frames()[0].latents().float(), values) is exact


def test_the_cpu_copies_at_once() -> None:
    values, event = copier_for(torch.device("cpu")).copy(latents())
    assert event is None
    assert bool((values == 1).all())


def test_the_copy_and_its_event_are_put_on_the_stream_that_computes() -> None:
    device, record, calls = torch.device("cuda", 1), MagicMock(), MagicMock()
    calls.Event.return_value.record = record
    values, event = EventCopier(device, calls).copy(latents(5))
    calls.current_stream.assert_called_once_with(device)
    record.assert_called_once_with(calls.current_stream.return_value)
    assert event is calls.Event.return_value
    assert bool((values == 5).all())
    assert not calls.Stream.called


class NoMemory:
    def copy(self, source: torch.Tensor) -> tuple[torch.Tensor, None]:
        raise RuntimeError("CUDA out of memory.\nTried to allocate 8 MiB")


class NoMemoryLater:
    def copy(self, source: torch.Tensor) -> tuple[torch.Tensor, FailingEvent]:
        return torch.empty_like(source), FailingEvent()


class FailingEvent:
    def query(self) -> bool:
        raise RuntimeError("the card is gone")

    def synchronize(self) -> None:
        raise RuntimeError("the card is gone")


def test_a_failed_copy_is_told_and_harms_nobody() -> None:
    recorder = Recorder(copier=NoMemory())
    recorder.add(tag(), latents())
    recorder.add(tag(), latents()[0])
    recorder.add(tag(), latents(), latents(images=2))
    assert recorder.frames() == ()
    assert recorder.missing().startswith("3 frames were not recorded: predictions have the shapes")
    assert recorder.snapshot().missed == 3
    recorder = Recorder(copier=NoMemoryLater())
    for step in range(3):
        recorder.add(tag(step), latents())
    with pytest.raises(RuntimeError, match="the card is gone"):
        recorder.frames()[0].latents()


Sections = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 12)), min_size=1, max_size=3)
Thinnings = st.one_of(
    st.builds(Thinning, every=st.integers(1, 7)),
    st.builds(Thinning, timesteps=st.lists(st.integers(0, 999).map(float), min_size=1, max_size=4).map(tuple)),
)


@given(Sections, Thinnings)
def test_thinning_keeps_first_switch_and_last_of_each_section(
    sections: list[tuple[int, int]], thinning: Thinning
) -> None:
    recorder, added = Recorder(thinning=thinning), 0
    expected: list[tuple[int, int]] = []
    for batch, (steps, switch) in enumerate(sections):
        tags = hybrid(steps, switch, Section("first pass", batch, len(sections)))
        for each in tags:
            recorder.add(each, latents())
            assert recorder.frames()[-1].info.tag == each, "the newest is always to be seen"
        wanted = {0, steps - 1} | ({switch} if 0 < switch < steps else set())
        if thinning.timesteps:
            levels = [each.position.timestep for each in tags]
            wanted |= {next((i for i, t in enumerate(levels) if t <= want), 0) for want in thinning.timesteps}
        else:
            wanted |= set(range(0, steps, thinning.every))
        expected += [(batch, step) for step in sorted(wanted)]
        added += steps
    kept = [frame.info.tag for frame in recorder.frames()]
    assert [(each.section.batch, each.position.step) for each in kept] == expected
    snapshot = recorder.snapshot()
    assert snapshot.thinned == added - len(snapshot.kept)
    assert recorder.missing() == "", "what was not wanted is not missing"


def test_thinning_by_less_than_every_frame_is_refused() -> None:
    with pytest.raises(DiversityError, match="give 1 or more"):
        Thinning(every=0)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(1, 4))
def test_a_cursor_gives_each_frame_once(bursts: list[int], every: int) -> None:
    recorder, told, cursor = Recorder(thinning=Thinning(every)), [], 0
    for burst in bursts:
        for _ in range(burst):
            recorder.add(tag(len(told)), latents())
        snapshot = recorder.snapshot(cursor)
        told += [frame.number for frame in snapshot.frames]
        cursor = snapshot.cursor
    assert len(told) == len(set(told))
    assert told == sorted(told)
    assert set(numbers(recorder)) <= set(told), "what is kept was told"
    assert recorder.snapshot(cursor).frames == ()


def test_where_the_model_switched() -> None:
    recorder = recorded([*hybrid(4, 2), *hybrid(3, 0, Section("hires pass")), *hybrid(3, 3, Section("first pass", 1))])
    assert [frame.info.number for frame in recorder.frames() if frame.info.switched] == [2]


def test_what_a_page_is_told_is_json() -> None:
    section = Section("hires pass", 1, 3)
    info = FrameInfo(7, Tag(section, Position(0, 4, 999, float("inf")), "base", 1.5, "sdxl"), 2, ("guided",), False)
    told = json.loads(json.dumps(info.as_json(), allow_nan=False))
    assert told == {
        "number": 7,
        "section": "hires pass, batch 2 of 3",
        "pass": "hires pass",
        "batch": 1,
        "step": 0,
        "steps": 4,
        "timestep": 999,
        "sigma": None,
        "phase": "base",
        "cfg": 1.5,
        "model": "sdxl",
        "images": 2,
        "kinds": ["guided"],
        "switched": False,
    }


def test_each_kind_is_its_own() -> None:
    recorder = Recorder()
    recorder.add(tag(), latents(1), cond=latents(2), uncond=latents(3))
    recorder.add(tag(1), latents(4), uncond=latents(5))
    first, second = recorder.frames()
    assert [float(first.latents(kind)[0, 0, 0, 0]) for kind in first.info.kinds] == [1, 2, 3]
    assert second.info.kinds == ("guided", "uncond")
    with pytest.raises(KeyError):
        second.latents("cond")


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 60), st.integers(1, 20))
def test_threads_read_while_one_adds(count: int, most: int) -> None:
    recorder, done, wrong = Recorder(Limits(frames=most)), Event(), []

    def read() -> None:
        cursor = 0
        told: list[int] = []
        while True:
            last = done.is_set()
            snapshot = recorder.snapshot(cursor)
            told += [frame.number for frame in snapshot.frames]
            cursor = snapshot.cursor
            wrong.extend(f.info.number for f in recorder.frames() if not bool((f.latents() == f.info.number).all()))
            if last:
                break
        if told != sorted(set(told)):
            wrong.append(-1)

    readers = [Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(count):
        recorder.add(tag(number, count), latents(number))
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert len(recorder.frames()) == min(count, most)


def test_a_reader_that_waits_long_does_not_hold_up_the_sampler() -> None:
    """A reader is stuck in the card's copy of the first frame; steps go on, and are recorded."""
    gate, entered, let_go = Event(), Event(), []

    class StuckEvent:
        def query(self) -> bool:
            return False

        def synchronize(self) -> None:
            entered.set()
            let_go.append(gate.wait(10))

    class Stuck:
        def copy(self, source: torch.Tensor) -> tuple[torch.Tensor, StuckEvent]:
            return source.clone(), StuckEvent()

    recorder = Recorder(copier=Stuck())
    recorder.add(tag(), colours())
    reader = Thread(target=recorder.frames()[0].latents)
    reader.start()
    assert entered.wait(PATIENCE)
    for step in range(1, 4):
        recorder.add(tag(step), colours())
    assert len(recorder.snapshot().frames) == 4
    gate.set()
    reader.join()
    assert let_go == [True], "a step waited until the reader gave up"
