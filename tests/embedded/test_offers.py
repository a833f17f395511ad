"""Which files are offered before the host has loaded its checkpoint: those that fit the one that it will load."""

from __future__ import annotations

from typing import Any

from tests.embedded.conftest import Host
from tests.embedded.previews import load_model
from tests.embedded.test_api_routes import the_host
from tests.embedded.test_shown import Empty


def offered(host: Any, *checkpoint: str) -> dict[str, Any]:
    """The answer once every file was looked at, which the first one begins."""
    from extension_core.hosts.common.files.known_files import KnownFiles
    from extension_core.hosts.common.http.offers import Offers

    offers = Offers(host, KnownFiles(lambda call: call()))
    assert offers.as_json("auto", *checkpoint)["pending"] > 0
    return offers.as_json("auto", *checkpoint)


def test_before_it_is_loaded_its_file_says_what_fits(host: Host) -> None:
    load_model(host)
    loaded, before = offered(the_host()), offered(Empty(the_host()))
    assert (loaded["checkpoint"], before["checkpoint"]) == ("base", None)
    assert before["architecture"] == loaded["architecture"]
    assert before["choices"] == loaded["choices"]
    reasons = {entry["name"].split(".")[0]: entry["reason"] for entry in before["choices"]}
    assert reasons["base"] == "it is the loaded checkpoint itself"


def test_another_one_is_chosen(host: Host) -> None:
    """Forge loads it with the next image, and the page's list is for that."""
    from modules import shared

    from extension_core.hosts.common.http.offers import CHOSEN

    load_model(host)
    before = shared.opts.data["sd_model_checkpoint"]
    shared.opts.data["sd_model_checkpoint"] = "second.safetensors"
    try:
        chosen, loaded = offered(the_host(), CHOSEN), offered(the_host())
    finally:
        shared.opts.data["sd_model_checkpoint"] = before
    assert (chosen["checkpoint"], loaded["checkpoint"]) == (None, "base")
    assert chosen["architecture"] == loaded["architecture"]
    reasons = {entry["name"].split(".")[0]: entry["reason"] for entry in chosen["choices"]}
    assert (reasons["second"], reasons["base"]) == ("it is the loaded checkpoint itself", "")


def test_every_file_has_a_heading(host: Host) -> None:
    load_model(host)
    headings = {entry["name"].split(".")[0]: entry["heading"] for entry in offered(the_host())["choices"]}
    assert headings["base"] == "Do not fit"
    assert headings["second"] == "Other checkpoints"


def test_refreshed_names_are_such_as_gradio_keeps(host: Host) -> None:
    """Any answer that sets the drop-down to a name is checked against them."""
    import gradio as gr

    from extension_core.hosts.common.page.build import refreshed

    made: Any = gr.Dropdown(choices=["None"])
    made.choices = refreshed()["choices"]
    assert made.postprocess("None") == "None"
    assert len(made.choices) > 2


def test_a_paste_names_a_file_as_the_list_does(host: Host) -> None:
    """Its hash may be known since; gradio 4 shows nothing for a name that it does not offer."""
    from extension_core.hosts.common.files import choices, hashes
    from extension_core.hosts.common.files.pasted import label_of

    listed = [choice.label for choice in choices.choices()]
    found = hashes.calculated(choices.find_choice("second").path)
    assert found
    assert label_of("second", "") in listed
    assert label_of("second", found) in listed
    assert label_of("renamed since", found) in listed
    assert choices.find_choice(label_of("second", found)).path == choices.find_choice("second").path
