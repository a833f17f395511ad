"""What goes wrong between page and server, whose frames are whose, and what is left behind."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from fastapi import Request, Response
from playwright.sync_api import expect

from extension_core.trajectory.frame_pictures import Decoder
from extension_core.trajectory.store import Generation
from tests.browser.preview.conftest import Opened, forgive
from tests.browser.preview.page import StandPage
from tests.browser.preview.stand import Stand
from tests.unit.trajectory import colours, hybrid

pytestmark = pytest.mark.once  # a browser and a stand-in for the server, no host


def refusing(
    part: str, status: int, sentence: str, times: int = 10**9, **headers: str
) -> Callable[[Request], Response | None]:
    """Answers this, so often, to requests whose path holds `part`."""
    left = [times]

    def refuse(request: Request) -> Response | None:
        if part not in request.url.path or not left[0]:
            return None
        left[0] -= 1
        return Response(f'{{"error": "{sentence}"}}', status, headers, "application/json")

    return refuse


def shown(site: StandPage, stand: Stand, frames: int = 4, tab: str = "txt2img") -> Generation:
    site.generate(tab)
    generation = stand.run(stand.begin(tab), hybrid()[:frames], lambda _: colours())
    expect(site.panel(tab).cells).to_have_count(2 * frames)
    return generation


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_refused_question_is_asked_again_later(site: StandPage, stand: Stand, said: list[str], status: int) -> None:
    headers = {"Retry-After": "1"} if status == 429 else {}
    generation = shown(site, stand, 1)
    stand.refuse = refusing("newest", status, "Too much at once.", 2, **headers)
    expect(site.panel().trouble).to_have_text("Too much at once.")
    stand.run(generation, hybrid()[1:], lambda _: colours())
    expect(site.panel().cells).to_have_count(8)
    expect(site.panel().trouble).to_be_hidden()
    stand.end(generation)
    forgive(said)


@pytest.mark.parametrize("status", [401, 404])
def test_a_refusal_for_good_ends_the_questions(site: StandPage, stand: Stand, said: list[str], status: int) -> None:
    shown(site, stand, 1)
    stand.refuse = refusing("newest", status, "Log in again.")
    expect(site.panel().trouble).to_have_text("Log in again.")
    stand.busy = False
    site.wait_until_quiet()
    asked = site.asked()
    site.later(120)
    site.wait_until_quiet()
    assert site.asked() == asked
    forgive(said)


def test_the_server_goes_and_comes_back(open_stand: Opened, stand: Stand, url: str, said: list[str]) -> None:
    site = open_stand()
    site.tick()
    generation = shown(site, stand, 2)
    site.page.context.set_offline(True)
    expect(site.panel().trouble).to_have_text("The server does not answer; asking again.")
    stand.run(generation, hybrid()[2:], lambda _: colours())
    site.page.wait_for_function("window.counts.failed > 1")
    site.page.context.set_offline(False)
    expect(site.panel().cells).to_have_count(8)
    site.panel().wait_for_pictures(8)
    expect(site.panel().trouble).to_be_hidden()
    stand.end(generation)
    forgive(said)


def test_a_server_begun_anew_knows_nothing(site: StandPage, stand: Stand) -> None:
    generation = shown(site, stand)
    site.panel().wait_for_pictures(8)
    stand.store = type(stand.store)()
    stand.busy = False
    expect(site.panel().status).to_have_text("The server does not keep these frames any more.")
    expect(site.panel().pictures).to_have_count(8)
    expect(site.panel().button("Save strip")).to_be_disabled()
    expect(site.panel().button("Stop here")).to_be_disabled()
    assert generation.id


def test_a_picture_that_cannot_be_made_says_why(open_stand: Opened, stand: Stand, said: list[str]) -> None:
    def fail(_latent: object) -> None:
        raise RuntimeError("out of memory")

    stand.decoder = Decoder("TAESD", fail)  # type: ignore[arg-type]
    site = open_stand()
    site.tick()
    generation = shown(site, stand, 1)
    expect(site.panel().cell(0)).to_contain_text("TAESD could not decode frame 0 (memory ran out)")
    stand.end(generation)
    forgive(said)


def test_pictures_refused_for_a_moment_come_later(site: StandPage, stand: Stand, said: list[str]) -> None:
    stand.refuse = refusing("frames", 429, "Too many pictures.", 3, **{"Retry-After": "1"})
    generation = shown(site, stand, 2)
    site.panel().wait_for_pictures(4)
    stand.end(generation)
    forgive(said)


@pytest.mark.parametrize("status", [404, 409, 500])
def test_full_size_refused_leaves_the_small_picture(
    site: StandPage, stand: Stand, said: list[str], status: int
) -> None:
    stand.end(shown(site, stand))
    stand.refuse = refusing(".png", status, "The VAE has changed since.")
    site.panel().cell(0).click()
    expect(site.panel().full.get_by_role("status")).to_have_text("The VAE has changed since.")
    expect(site.panel().full.locator("img")).to_have_attribute("src", re.compile(r"\.jpg"))
    forgive(said)


@pytest.mark.parametrize(("part", "name"), [("stop", "Stop here"), ("save", "Save strip"), ("curve", "")])
def test_what_is_refused_says_its_sentence(
    site: StandPage, stand: Stand, said: list[str], part: str, name: str
) -> None:
    generation = shown(site, stand)
    stand.refuse = refusing(part, 409, "It cannot be done now.")
    if part != "stop":
        stand.end(generation)
    if name:
        site.panel().button(name).click()
        expect(site.panel().done).to_have_text("It cannot be done now.")
    else:
        site.panel().root.locator("summary").click()
        expect(site.panel().root.locator(".diversity-dt-curve")).to_have_text("It cannot be done now.")
    forgive(said)


def test_two_pages_and_two_tabs_see_only_their_own(open_stand: Opened, stand: Stand) -> None:
    pages = [open_stand(), open_stand()]
    for site in pages:
        site.tick()
    site, other = pages
    site.tick("img2img")
    first = shown(site, stand, 1)
    second = shown(other, stand, 2)
    third = shown(site, stand, 3, "img2img")
    assert len({text for _, text in stand.texts}) == 3
    for generation in (first, second, third):
        stand.end(generation)
    expect(site.panel().cells).to_have_count(2)
    expect(site.panel("img2img").cells).to_have_count(6)
    expect(other.panel().cells).to_have_count(4)
    expect(other.panel("img2img").cells).to_have_count(0)


def test_a_page_loaded_again_shows_its_last_strip(site: StandPage, stand: Stand) -> None:
    stand.end(shown(site, stand))
    site.panel().wait_for_pictures(8)
    site.page.reload()
    expect(site.panel().cells).to_have_count(8)
    expect(site.panel().status).to_have_text("Finished.")
    site.panel().wait_for_pictures(8)
    site.wait_until_quiet()
    asked = site.asked()
    site.later(120)
    site.wait_until_quiet()
    assert site.asked() == asked
    site.tick()
    site.generate()
    assert stand.texts[0] == stand.texts[1]


def test_a_page_loaded_again_meanwhile_goes_on(site: StandPage, stand: Stand) -> None:
    generation = shown(site, stand, 2)
    site.page.reload()
    expect(site.panel().cells).to_have_count(4)
    stand.run(generation, hybrid()[2:], lambda _: colours())
    expect(site.panel().cells).to_have_count(8)
    stand.end(generation)
    expect(site.panel().status).to_have_text("Finished.")


def test_a_duplicated_tab_gets_keys_of_its_own(open_stand: Opened, stand: Stand) -> None:
    site = open_stand()
    site.tick()
    stand.end(shown(site, stand))
    with site.page.context.expect_page() as opened:
        site.page.evaluate("void window.open(location.href)")  # takes the storage along, as duplicating a tab does
    other = StandPage(opened.value)
    other.page.locator(".diversity-dt-status").first.wait_for()
    assert other.page.evaluate("sessionStorage.length") > 0
    other.wait_until_quiet()
    expect(other.panel().cells).to_have_count(0)
    other.tick()
    other.generate()
    assert stand.texts[0] != stand.texts[1]
    site.generate()
    assert stand.texts[2] == stand.texts[0]


def test_unticked_it_asks_nothing(open_stand: Opened, stand: Stand) -> None:
    site = open_stand()
    site.generate()
    site.later(10)
    site.wait_until_quiet()
    assert stand.asked == {}


def test_a_page_that_nobody_sees_asks_nothing_and_catches_up(site: StandPage, stand: Stand) -> None:
    generation = shown(site, stand, 1)
    hidden = "element => { element.style.display = 'none'; }"
    site.page.locator("#txt2img_accordion").evaluate(hidden)
    site.wait_until_quiet()
    asked = site.asked()
    stand.run(generation, hybrid()[1:], lambda _: colours())
    site.later(120)
    site.wait_until_quiet()
    assert site.asked() == asked
    site.page.locator("#txt2img_accordion").evaluate("element => { element.style.display = ''; }")
    expect(site.panel().cells).to_have_count(8)
    stand.end(generation)


@pytest.mark.parametrize("way", ["re-rendered", "reloading"])
def test_nothing_is_left_when_the_root_goes(site: StandPage, stand: Stand, way: str) -> None:
    """The host draws a tab anew, or "Reload UI" empties the page."""
    generation = shown(site, stand, 2)
    site.page.wait_for_function("window.counts.timers.size > 0")
    stand.busy = False
    where = {"re-rendered": "#txt2img_accordion", "reloading": "body"}[way]
    site.page.locator(where).evaluate("element => { element.innerHTML = ''; }")
    site.wait_until_quiet()
    asked = site.asked()
    site.later(120)
    site.wait_until_quiet()
    assert site.asked() == asked
    stand.end(generation)


def test_a_root_drawn_anew_gets_its_strip_back(site: StandPage, stand: Stand) -> None:
    generation = shown(site, stand, 2)
    site.page.locator("#txt2img_accordion").evaluate(
        "element => { element.replaceChildren(element.firstElementChild.cloneNode(true)); "
        "element.querySelector('.diversity-dt').replaceChildren(); }"
    )
    expect(site.panel().cells).to_have_count(4)
    stand.run(generation, hybrid()[2:], lambda _: colours())
    expect(site.panel().cells).to_have_count(8)
    stand.end(generation)


def test_no_globals(open_stand: Opened) -> None:
    names = "Object.getOwnPropertyNames(window).sort()"
    with_ours, without = open_stand().page.evaluate(names), open_stand(modules="none").page.evaluate(names)
    assert with_ours == without


def test_each_module_is_fetched_once(open_stand: Opened) -> None:
    """By the address that the host gave it, with its time stamp: no update is mixed with an older file."""
    site = open_stand(own_time=False)
    fetched = site.page.evaluate("performance.getEntriesByType('resource').map(x => x.name)")
    ours = [name for name in fetched if "diversity_dt" in name]
    assert len(ours) == len(set(ours)) == 13
    assert all(re.search(r"\.mjs\?[\d.]+$", name) for name in ours)
