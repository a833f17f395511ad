"""The Forge flavour: the page's generations have one thread, the API's have others, and what follows from that."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.embedded.conftest import Host, page_generate
from tests.waiting import joined

pytestmark = pytest.mark.forge
On = Callable[[str], Callable[[Callable[..., Any]], Callable[..., Any]]]


@pytest.fixture(autouse=True)
def _forgotten(session_host: Host) -> None:
    from modules_forge import main_thread

    main_thread.last_exception = None


def test_the_page_generates_in_that_thread_and_the_api_in_its_own(host: Host, on: On, main_thread: None) -> None:
    seen: list[tuple[str, bool]] = []
    on("process_before_every_sampling")(
        lambda *_: seen.append((threading.current_thread().name, torch.is_inference_mode_enabled()))
    )
    page_generate(host)
    host.txt2img(steps=1)
    (page, page_mode), (api, api_mode) = seen
    assert page == "page"
    assert api != page
    assert page_mode
    assert api_mode
    assert not torch.is_inference_mode_enabled(), "the mode is a thread's own"


def test_a_fault_is_told_in_the_log_and_kept(host: Host, main_thread: None) -> None:
    from modules_forge import main_thread as thread

    *others, log = page_generate(host, hr_scheduler=None, enable_hr=True, hr_upscaler="nix")
    assert others == [None, "", ""]
    assert "could not find upscaler named nix" in log
    assert "could not find upscaler named nix" in str(thread.last_exception)


def test_a_later_fault_outside_of_that_thread_is_told_as_the_earlier_one(host: Host, main_thread: None) -> None:
    """Until a generation of the page goes well: the host's trap."""
    from modules.call_queue import wrap_gradio_gpu_call

    def fail(id_task: str) -> Any:
        raise ValueError("mine")

    run = wrap_gradio_gpu_call(fail, extra_outputs=[None])
    assert "ValueError: mine" in run("task(x)")[-1]
    page_generate(host, hr_scheduler=None, enable_hr=True, hr_upscaler="nix")
    assert "could not find upscaler" in run("task(x)")[-1]
    page_generate(host)
    assert "ValueError: mine" in run("task(x)")[-1]


def test_functions_run_one_after_another(session_host: Host, main_thread: None) -> None:
    from modules_forge.main_thread import finished_list, run_and_wait_result, waiting_list

    order: list[tuple[int, str]] = []
    answers: dict[int, Any] = {}

    def work(n: int) -> int:
        order.append((n, threading.current_thread().name))
        return 10 * n

    threads = [threading.Thread(target=lambda n=n: answers.update({n: run_and_wait_result(work, n)})) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        joined(thread)
    assert answers == {n: 10 * n for n in range(5)}
    assert {name for _, name in order} == {"page"}
    assert waiting_list == finished_list == []
    assert run_and_wait_result(lambda: 1 / 0) is None


def test_the_loop_ends_with_what_it_serves() -> None:
    from modules_forge import main_thread

    turns = iter([True, True, False])
    main_thread.loop(goes_on=lambda: next(turns))
