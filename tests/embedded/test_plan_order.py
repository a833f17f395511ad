"""The plan line shows what the page has asked for last, in whatever order the answers come."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

from tests.embedded.conftest import Host
from tests.waiting import PATIENCE


def test_an_older_answer_changes_nothing(host: Host) -> None:
    import gradio as gr

    from extension_core.hosts.webui.following import Asked, newest_alone

    asked, begun, overtaken = Asked(), Event(), Event()

    def line(text: str) -> str:
        if text == "older":
            begun.set()
            assert overtaken.wait(PATIENCE)
        return text

    shown = newest_alone(line)
    with ThreadPoolExecutor() as threads:
        older = threads.submit(shown, 1.0, asked, "older")
        assert begun.wait(PATIENCE)
        assert shown(2.0, asked, "newer") == "newer"
        assert shown(0.5, Asked(), "another page's") == "another page's"
        overtaken.set()
        assert older.result(PATIENCE) == gr.update()
    assert shown(3.0, asked, "newest") == "newest"


def test_an_older_question_that_comes_later_is_not_answered(host: Host) -> None:
    """A busy server begins two requests in any order."""
    import gradio as gr

    from extension_core.hosts.webui.following import Asked, newest_alone

    asked, answered = Asked(), list[str]()

    def line(text: str) -> tuple[str, str]:
        answered.append(text)
        return text, text

    shown = newest_alone(line, 2)
    assert shown(2.0, asked, "newer") == ("newer", "newer")
    assert shown(1.0, asked, "older") == (gr.update(), gr.update())
    assert answered == ["newer"]
