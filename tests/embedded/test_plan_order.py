"""The plan line shows what the page has asked for last, in whatever order the answers come."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

from tests.embedded.conftest import Host
from tests.waiting import PATIENCE


def test_an_older_answer_changes_nothing(host: Host) -> None:
    import gradio as gr

    from extension_core.hosts.common.page.host_components import PageMemory, newest_alone

    asked, begun, overtaken = PageMemory(), Event(), Event()

    def line(text: str, checkpoint: str) -> str:
        del checkpoint
        if text == "older":
            begun.set()
            assert overtaken.wait(PATIENCE)
        return text

    shown = newest_alone(line)
    with ThreadPoolExecutor() as threads:
        older = threads.submit(shown, asked, "older")
        assert begun.wait(PATIENCE)
        assert shown(asked, "newer") == "newer"
        assert shown(PageMemory(), "another page's") == "another page's"
        overtaken.set()
        assert older.result(PATIENCE) == gr.update()
    assert shown(asked, "newest") == "newest"


def test_the_checkpoint_that_the_page_has_chosen_counts_until_the_host_has_stored_it(host: Host) -> None:
    """Forge stores it by another event, at the same time."""
    from modules import shared

    from extension_core.hosts.common.page.host_components import PageMemory, chosen_on_page, newest_alone

    asked = PageMemory()
    shown = newest_alone(lambda checkpoint: checkpoint)
    choose = chosen_on_page(shown)
    before = shared.opts.data["sd_model_checkpoint"]
    try:
        shared.opts.data["sd_model_checkpoint"] = "old"
        assert shown(asked) == "old"
        assert choose("new", asked) == "new"
        assert shown(asked) == "new", "a question that was on its way"
        assert shown(PageMemory()) == "old", "another page's"
        shared.opts.data["sd_model_checkpoint"] = "new"
        assert shown(asked) == "new"
        shared.opts.data["sd_model_checkpoint"] = "old"
        assert shown(asked) == "old", "chosen by somebody else since"
    finally:
        shared.opts.data["sd_model_checkpoint"] = before


def test_a_page_gets_a_list_of_files_only_where_it_has_another(host: Host) -> None:
    """Thousands of names are not sent with every plan."""
    import gradio as gr

    from extension_core.hosts.common.page.host_components import Files, PageMemory, and_files

    offered = ["None", "old"]
    files = Files(list(offered), lambda: offered, lambda: {"choices": ["sent"]})
    asked = PageMemory(files="None\nold")
    shown = and_files(lambda _asked: ("plan",), files, 2)
    assert shown(asked) == ("plan", gr.update(), gr.update())
    offered.append("new")
    assert shown(asked) == ("plan", *[gr.update(choices=["sent"])] * 2)
    assert shown(asked) == ("plan", gr.update(), gr.update())
