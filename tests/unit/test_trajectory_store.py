"""Recordings by id: for their owner alone, for a while, told piece by piece."""

from __future__ import annotations

import base64
import json
import os
import re
import string
from threading import Thread

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from extension_core.errors import DiversityError
from extension_core.trajectory.etags import etag_of, matches
from extension_core.trajectory.frame_pictures import SIDES, View
from extension_core.trajectory.recorder import Limits, Recorder
from extension_core.trajectory.store import Expiry, Generation, State, Store
from tests.unit.trajectory import Clock, colours, plain, tag

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

ALPHABET = string.ascii_letters + string.digits + "-_"


def sized(nbytes: int) -> Recorder:
    recorder = Recorder()
    recorder.add(tag(), torch.zeros(1, 1, 1, nbytes // 2, dtype=torch.float16))
    return recorder


def finished(store: Store, owner: str = "ann", recorder: Recorder | None = None) -> Generation:
    generation = store.open(owner, recorder=recorder)
    generation.finish(State.DONE)
    return generation


def test_ids_cannot_be_guessed_and_a_page_may_bring_its_own() -> None:
    store = Store(Expiry(count=300))
    ids = {store.open("ann").id for _ in range(200)}
    assert len(ids) == 200
    assert all(re.fullmatch(r"[\w-]{32}", identifier, re.ASCII) for identifier in ids)
    own = base64.urlsafe_b64encode(os.urandom(24)).decode()
    assert store.open("ann", own).id == own
    assert store.find(own, "ann") is not None
    for owner in ("ann", "bob"):
        with pytest.raises(DiversityError, match="is in use"):
            store.open(owner, own)


@given(
    st.one_of(
        st.text(max_size=40),
        st.text(ALPHABET, max_size=31),
        st.text(ALPHABET, min_size=33, max_size=40),
        st.text(ALPHABET, min_size=31, max_size=31).map(lambda text: text + "\n"),
        st.sampled_from(["", "../" * 10 + "ab", "A" * 31 + "é", "A" * 31 + "/", "A" * 32 + "\n", "A" * 31 + "\0"]),
    ).filter(lambda text: not (len(text) == 32 and set(text) <= set(ALPHABET)))
)
def test_ids_of_another_form_are_refused_and_found_nowhere(identifier: str) -> None:
    store = Store()
    with pytest.raises(DiversityError, match="leave it out"):
        store.open("ann", identifier)
    assert store.find(identifier, "ann") is None
    assert len(store) == 0


@given(st.text(max_size=8), st.text(max_size=8), st.text(ALPHABET, min_size=32, max_size=32))
def test_a_foreign_owner_learns_nothing(owner: str, reader: str, unknown: str) -> None:
    """The answer is the same as for an id that never was, before and after it expired."""
    clock = Clock()
    store = Store(clock=clock)
    generation = finished(store, owner)
    assert store.find(generation.id, owner) is generation
    assert store.find(unknown, owner) is None
    if reader != owner:
        assert store.find(generation.id, reader) is None
    clock.now = 4000
    assert store.find(generation.id, owner) is None


def test_time_counts_from_the_last_change_and_not_from_polls() -> None:
    clock = Clock()
    store = Store(Expiry(seconds=100), clock)
    generation = store.open("ann")
    for _ in range(5):
        clock.now += 99
        generation.recorder.add(tag(), colours())
        assert store.find(generation.id, "ann") is generation, "it still runs"
    clock.now += 50
    generation.finish(State.INTERRUPTED, "It was interrupted at step 5.")
    assert store.find(generation.id, "ann") is generation
    for _ in range(9):
        clock.now += 11
        assert store.find(generation.id, "ann") is generation
    clock.now += 1
    assert store.find(generation.id, "ann") is None
    assert len(store) == 0


def test_a_generation_that_never_ends_goes_too() -> None:
    clock = Clock()
    store = Store(Expiry(seconds=100), clock)
    store.open("ann")
    clock.now = 101
    store.open("bob")
    assert len(store) == 1


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 6)), min_size=1, max_size=20), st.integers(1, 5))
def test_count_and_memory_are_bounded_and_the_newest_stays(opened: list[tuple[bool, int]], count: int) -> None:
    store = Store(Expiry(count=count, nbytes=1000))
    generations: list[Generation] = []
    for ends, size in opened:
        generations.append(store.open("ann", recorder=sized(200 * size)))
        held = [each for each in generations if store.find(each.id, "ann")]
        running = [each for each in generations if each.state is State.RUNNING]
        assert held[-1] is generations[-1]
        assert set(running) <= set(held), "what runs is never sent away"
        older = [each for each in held[:-1] if each.state is not State.RUNNING]
        assert len(held) <= max(count, len(running))
        assert not older or sum(each.recorder.nbytes for each in held[:-1]) <= 1000
        ended = [each for each in generations[:-1] if each.state is not State.RUNNING]
        assert older == ended[len(ended) - len(older) :], "the oldest go first"
        if ends:
            generations[-1].finish(State.DONE)


def test_an_answer_says_what_is_new_and_its_tag_changes_with_it() -> None:
    generation = Store().open("ann")
    empty = generation.update()
    generation.recorder.add(tag(0), colours())
    generation.recorder.add(tag(1), colours())
    two = generation.update()
    assert [frame.number for frame in two.frames] == [0, 1]
    assert generation.update(two.cursor).frames == ()
    assert generation.update().etag == two.etag
    generation.recorder.add(tag(2), colours())
    assert [frame.number for frame in generation.update(two.cursor).frames] == [2]
    running = generation.update(3)
    generation.finish(State.DONE)
    done = generation.update(3)
    assert len({each.etag for each in (empty, two, running, done)}) == 4
    told = json.loads(json.dumps(done.as_json(), allow_nan=False))
    assert (told["state"], told["frames"], told["kept"], told["cursor"]) == ("done", [], [0, 1, 2], 3)


def test_what_is_missing_is_said_in_sentences() -> None:
    generation = Store().open("ann", recorder=Recorder(Limits(frames=2)))
    for step in range(3):
        generation.recorder.add(tag(step), colours())
    generation.finish(State.FAILED, "Sampling stopped at step 3 of 4: out of memory.")
    generation.finish(State.DONE)
    update = generation.update()
    assert update.state is generation.state is State.FAILED
    assert update.missing == (
        "Sampling stopped at step 3 of 4: out of memory. "
        "The oldest 1 frame was dropped, as at most 2 frames and 512 MiB are kept."
    )


def test_many_pages_poll_while_one_generation_runs() -> None:
    store = Store()
    generation = store.open("ann")
    told: list[list[int]] = [[] for _ in range(4)]

    def poll(numbers: list[int]) -> None:
        cursor, state = 0, State.RUNNING
        while state is State.RUNNING:
            found = store.find(generation.id, "ann")
            assert found is not None
            update = found.update(cursor)
            numbers += [frame.number for frame in update.frames]
            cursor, state = update.cursor, update.state

    pages = [Thread(target=poll, args=(numbers,)) for numbers in told]
    for page in pages:
        page.start()
    for step in range(40):
        generation.recorder.add(tag(step, 40), colours())
    generation.finish(State.DONE)
    for page in pages:
        page.join()
    assert told == [list(range(40))] * 4


def test_entity_tags() -> None:
    etag = etag_of(b"picture")
    assert etag == etag_of(b"picture") != etag_of(b"pictures")
    assert re.fullmatch(r'"[0-9a-f]{24}"', etag)
    assert matches(etag, etag)
    assert matches(f'"other", W/{etag}', etag)
    assert matches("*", etag)
    assert not matches("", etag)
    assert not matches('"other"', etag)


def test_pictures_count_in_the_memory_of_a_recording() -> None:
    store = Store(Expiry(nbytes=3000))
    looked_at, other = finished(store, recorder=sized(1000)), finished(store, recorder=sized(1000))
    looked_at.recorder.add(tag(1), colours())
    picture = looked_at.pictures.get(looked_at.recorder.frames()[1], View(0, side=None), plain())
    assert looked_at.nbytes == 1000 + colours().nbytes + len(picture.content)
    many = looked_at.pictures
    for image in range(2):
        for side in SIDES:
            many.get(looked_at.recorder.frames()[1], View(image, side=side), plain())
    store.open("ann")
    assert (store.find(looked_at.id, "ann"), store.find(other.id, "ann")) == (None, other)
