"""What a request changes on its processing object, and how the object comes to be the user's again."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import pytest

from extension_core.errors import DiversityError
from extension_core.hosts.common.processing import takeover
from extension_core.hosts.common.processing.takeover import TakeOver


class Processing:
    """A host's, as far as it is taken over."""

    def __init__(self) -> None:
        self.steps, self.cfg_scale, self.sampler_name = 20, 7.0, "Euler a"
        self.log: list[Any] = []

    def sample(self, *args: Any) -> Any:
        self.log.append((self, self.steps, *args))
        return "samples"

    def setup_conds(self) -> None:
        self.log.append(("conds", self.steps))

    def close(self) -> None:
        self.log.append("closed")


def settled(p: Processing, steps: int = 4, name: str = "ours") -> TakeOver:
    """A request of ours: other steps, and a mark around each sampling and each reading of the prompts."""
    taken = takeover.start(p)
    taken.begun = True
    with taken.changes():
        p.steps = steps
        p.setup_conds = marked(p, f"{name} conds")(p.setup_conds)
    taken.layer("sample", marked(p, name))
    return taken


def marked(p: Processing, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def around(inner: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            p.log.append(name)
            return inner(*args)

        return run

    return around


def test_nothing_is_left_after_sampling_but_what_waits_for_the_end() -> None:
    p = Processing()
    taken = settled(p)
    p.setup_conds()
    assert p.sample() == "samples"
    assert p.log == ["ours conds", ("conds", 4), "ours", (p, 4)]
    assert p.steps == 20
    assert {"sample", "setup_conds"}.isdisjoint(vars(p))
    taken.end()
    assert "close" not in vars(p)


def test_each_batch_is_taken_again() -> None:
    p = Processing()
    taken = settled(p)
    for _ in range(3):
        taken.take_again()
        p.setup_conds()
        p.sample()
    assert p.log == ["ours conds", ("conds", 4), "ours", (p, 4)] * 3
    assert p.steps == 20


def test_processed_again_it_is_settled_from_the_users_values() -> None:
    p = Processing()
    depths: list[int] = []
    for number in range(5):
        p.steps += 1
        settled(p, name=f"run {number}")
        assert p.steps == 4
        p.sample()
        depths.append(len(p.log))
    assert p.steps == 25
    assert [x for x in p.log if isinstance(x, str)] == [f"run {number}" for number in range(5)]
    assert depths == [2, 4, 6, 8, 10]


def test_one_that_was_never_sampled_is_given_back_too() -> None:
    p = Processing()
    settled(p, name="first")
    settled(p, name="second")
    p.sample()
    assert p.log == ["second", (p, 4)]
    assert p.steps == 20


def test_a_failure_gives_back() -> None:
    p = Processing()
    taken = settled(p)
    taken.refuse(DiversityError("no"))
    with pytest.raises(DiversityError, match="no"):
        p.sample()
    assert p.steps == 20
    assert p.sample() == "samples"


def test_closing_gives_back_and_tells_the_end_once() -> None:
    p = Processing()
    ends: list[str] = []
    settled(p).at_end(lambda: ends.append("end"))
    p.close()
    p.close()
    assert ends == ["end"]
    assert p.log == ["closed", "closed"]
    assert p.steps == 20


def test_what_another_has_set_stays() -> None:
    p = Processing()
    taken = settled(p)
    p.steps = 11
    p.sample()
    assert p.steps == 11
    taken.take_again()
    assert p.steps == 11


def test_what_another_sets_between_batches_stays() -> None:
    p = Processing()
    taken = settled(p)
    p.sample()
    p.steps = 30
    taken.take_again()
    assert p.steps == 30


def test_another_layer_over_ours_keeps_working_and_runs_once_each() -> None:
    p = Processing()
    taken = settled(p)
    p.sample = marked(p, "other")(p.sample)  # type: ignore[method-assign]
    p.sample()
    taken.take_again()
    p.sample()
    assert p.log == ["other", "ours", (p, 4)] * 2
    p.log.clear()
    settled(p, name="next").take_again()
    p.sample()
    assert p.log == ["next", "other", (p, 4)], "the layer of before is passed through"


def test_another_layer_put_on_between_batches_is_kept_under_ours() -> None:
    p = Processing()
    taken = settled(p)
    p.sample()
    p.sample = other = marked(p, "other")(p.sample)  # type: ignore[method-assign]
    p.log.clear()
    taken.take_again()
    p.sample()
    assert p.log == ["ours", "other", (p, 4)]
    assert vars(p)["sample"] is other


def test_a_copy_has_methods_of_its_own() -> None:
    p = Processing()
    settled(p)
    copied = copy(p)
    copied.log = []
    inner = takeover.start(copied)
    assert inner.inner
    assert takeover.of(copied) is inner
    assert copied.steps == 20
    copied.sample()
    copied.close()
    assert copied.log == [(copied, 20), "closed"]
    assert p.log == []
    p.sample()
    assert p.log == ["ours", (p, 4)]


def test_a_copy_of_one_that_is_done_is_none_of_its_passes() -> None:
    p = Processing()
    settled(p).end()
    assert takeover.of(copy(p)) is None
    assert not takeover.start(copy(p)).inner


def test_a_copy_made_before_anything_is_settled_is_a_request_of_its_own() -> None:
    """So does Compare."""
    p = Processing()
    takeover.start(p)
    assert not takeover.start(copy(p)).inner


def test_a_failure_is_told_while_the_request_is_ours() -> None:
    p = Processing()
    taken = settled(p)
    seen: list[int] = []
    taken.at_failure(lambda: seen.append(p.steps))
    assert p.sample() == "samples"
    taken.take_again()
    taken.refuse(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        p.sample()
    assert (seen, p.steps) == ([4], 20)
