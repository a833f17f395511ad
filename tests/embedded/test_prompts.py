"""Prompt syntax, text encoding and conditioning."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.embedded.conftest import Host

pytestmark = pytest.mark.a1111

# (prompt, steps, steps of the hires pass or None) -> texts with the last step at which each holds
SCHEDULES: list[tuple[str, int | None, list[list[Any]]]] = [
    ("test", None, [[10, "test"]]),
    ("a [b:3]", None, [[3, "a "], [10, "a b"]]),
    ("a [b: 3]", None, [[3, "a "], [10, "a b"]]),
    ("a [[[b]]:2]", None, [[2, "a "], [10, "a [[b]]"]]),
    ("[(a:2):3]", None, [[3, ""], [10, "(a:2)"]]),
    ("a [b : c : 1] d", None, [[1, "a b  d"], [10, "a  c  d"]]),
    ("a[b:[c:d:2]:1]e", None, [[1, "abe"], [2, "ace"], [10, "ade"]]),
    ("a [unbalanced", None, [[10, "a [unbalanced"]]),
    ("a [b:.5] c", None, [[5, "a  c"], [10, "a b c"]]),
    ("((a][:b:c [d:3]", None, [[3, "((a][:b:c "], [10, "((a][:b:c d"]]),
    ("[fe|]male", None, [[i, "female" if i % 2 else "male"] for i in range(1, 11)]),
    ("a [b:.5] c", 10, [[10, "a b c"]]),
    ("a [b:1.5] c", 10, [[5, "a  c"], [10, "a b c"]]),
]


@pytest.mark.parametrize(("prompt", "hires", "schedule"), SCHEDULES)
def test_prompt_editing(host: Host, prompt: str, hires: int | None, schedule: list[list[Any]]) -> None:
    from modules.prompt_parser import get_learned_conditioning_prompt_schedules

    assert get_learned_conditioning_prompt_schedules([prompt], 10, hires) == [schedule]


@pytest.mark.parametrize(
    ("prompt", "pieces"),
    [
        ("normal text", [["normal text", 1.0]]),
        ("an (important) word", [["an ", 1.0], ["important", 1.1], [" word", 1.0]]),
        ("(unbalanced", [["unbalanced", 1.1]]),
        (r"\(literal\]", [["(literal]", 1.0]]),
        ("(a:1.5) [b]", [["a", 1.5], [" ", 1.0], ["b", 1 / 1.1]]),
        ("a BREAK b", [["a", 1.0], ["BREAK", -1], ["b", 1.0]]),
    ],
)
def test_emphasis(host: Host, prompt: str, pieces: list[list[Any]]) -> None:
    from modules.text_chunks import parse_prompt_attention

    assert parse_prompt_attention(prompt) == pieces


_SYNTAX = st.text(alphabet="ab ()[]:|.\\1-", max_size=24)


@given(prompt=_SYNTAX, steps=st.integers(1, 30))
def test_any_prompt_has_a_schedule_to_the_last_step(prompt: str, steps: int) -> None:
    from embedded.a1111.modules import prompt_parser

    schedule = prompt_parser.get_learned_conditioning_prompt_schedules([prompt], steps)[0]
    ends = [end for end, _ in schedule]
    assert ends == sorted(set(ends))
    assert ends[-1] == steps
    assert all(isinstance(text, str) for _, text in schedule)


def test_long_prompts_come_in_chunks_of_75_tokens(host: Host) -> None:
    from modules import shared

    host.txt2img(steps=1)
    encoder = shared.sd_model.cond_stage_model
    assert encoder(["a"]).shape[1] == 77
    assert encoder(["a BREAK a"]).shape[1] == 154
    count = len(encoder.tokenize(["word"])[0])
    assert encoder([" ".join(["word"] * (75 // count + 2))]).shape[1] == 154


def test_emphasis_keeps_the_mean(host: Host) -> None:
    from modules import shared

    host.txt2img(steps=1)
    encoder = shared.sd_model.cond_stage_model
    with torch.no_grad():
        plain, strong = encoder(["a red cat"]), encoder(["a (red:1.8) cat"])
    assert not torch.allclose(plain, strong, atol=1e-3)
    assert strong.mean() == pytest.approx(plain.mean().item(), rel=1e-3)


def test_conditioning_is_remembered_by_checkpoint_and_prompt(host: Host) -> None:
    from modules import shared

    calls: list[Any] = []
    host.txt2img()
    model = shared.sd_model
    original = type(model).get_learned_conditioning
    model.get_learned_conditioning = lambda c: calls.append(c) or original(model, c)
    try:
        host.txt2img()
        assert calls == []
        host.txt2img(prompt="another")
        assert len(calls) == 1
    finally:
        del model.get_learned_conditioning
