"""The host's own page, as far as extensions' scripts on it stand on what it does."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.webpage import Tab, press
from tests.e2e.flavour import REAL_HOSTS_ALONE, flavour_under_test

ON_FORGE = flavour_under_test() == "forge"


@REAL_HOSTS_ALONE  # their settings as the page's JavaScript has them
def test_settings_come_with_the_page_and_callbacks_after_them(page: Page) -> None:
    page.wait_for_function("Object.keys(opts).length > 0")
    told = page.evaluate("""() => {
        const told = [];
        onOptionsAvailable(() => told.push(opts.live_preview_refresh_period));
        return told;
    }""")
    assert len(told) == 1
    assert page.evaluate("gradioApp().getElementById('txt2img_prompt') !== null")


def test_callbacks_of_changes_run_once_after_the_last_one(page: Page) -> None:
    """With timers that the test holds in its hand: none of the page's runs by itself meanwhile."""
    counts = page.evaluate("""async () => {
        const counts = {updates: 0, before: 0, after: 0, loaded: 0, pauses: []};
        const [set, clear] = [window.setTimeout, window.clearTimeout];
        const held = new Map();
        const turn = () => new Promise((resolve) => set(resolve));
        window.setTimeout = (call, pause, ...given) => {  // gradio's own, too, which hands something on by them
            held.set(-held.size - 1, {call, pause, given});
            return -held.size;
        };
        window.clearTimeout = (timer) => { held.has(timer) ? held.get(timer).call = null : clear(timer); };
        onUiUpdate((mutations) => { counts.updates += Array.isArray(mutations) ? 1 : 0; });
        onAfterUiUpdate(() => counts.after++);
        onUiLoaded(() => counts.loaded++);
        for (let i = 0; i < 4; i++) {
            gradioApp().querySelector("#tabs").appendChild(document.createElement("i")).remove();
            await turn();
        }
        counts.before = counts.after;
        const waiting = Array.from(held.values()).filter(({call}) => call);
        [window.setTimeout, window.clearTimeout] = [set, clear];
        for (const {call, pause, given} of waiting) {
            counts.pauses.push(pause);
            call(...given);
        }
        return counts;
    }""")
    assert counts["updates"] >= 4
    assert counts["before"] == 0
    assert counts["pauses"].count(200) == counts["after"] == 1
    assert counts["loaded"] == 0, "who registers late is not called any more"


@REAL_HOSTS_ALONE  # their function that picks what is sent
@pytest.mark.parametrize(
    ("given", "on_a1111", "on_forge"),
    [
        (["id", 1, ["pictures"], "info", "html", "log"], ["id", 1, ["pictures"], "info", "html", "log"], ["id", 1]),
        (["id", 1, ["pictures"], "html", "log"], ["id", 1, None, "html", "log"], ["id", 1]),
        (["id", 1, None, "info", "html", "log"], ["id", 1, None, "info", "html", "log"], None),
    ],
)
def test_what_a_submission_sends(page: Page, given: list[object], on_a1111: object, on_forge: object) -> None:
    sent = page.evaluate("(given) => create_submit_args(given)", given)
    assert sent == ((on_forge or given) if ON_FORGE else on_a1111)


@REAL_HOSTS_ALONE  # their button that shows the last generation again
def test_a_reloaded_page_shows_its_generation_again(txt2img: Tab, site: Site) -> None:
    page = txt2img.page
    txt2img.settings(steps=6)
    with site.held(3) as gate:
        txt2img.generate_button.click()
        gate.wait(3)
        task = page.evaluate("localStorage.getItem('txt2img_task_id')")
        assert task.startswith("task(")
        page.reload(wait_until="domcontentloaded")
        restore = txt2img.element("restore_progress")
        press(restore, page.locator(".progressDiv"))
        gate.open()
        expect(txt2img.infotext).to_contain_text("Steps: 6,")
    txt2img.wait_until_idle()
    expect(txt2img.pictures.first).to_be_visible()
    expect(restore).to_be_hidden()
    assert page.evaluate("localStorage.getItem('txt2img_task_id')") == task, "the host forgets it after the next one"
    txt2img.settings(steps=4, width=64, height=64)
    txt2img.generate()
    page.wait_for_function("localStorage.getItem('txt2img_task_id') === null")
