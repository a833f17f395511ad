"""The WebUI's page as a user sees it: tabs with their fields, the gallery, and the accordion of this extension."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from extension_core.options.hybrid import BY_NAME
from extension_core.ui.groups import GROUPS
from tests.waiting import until

TITLE = "Diversity Distillation"

# What a tab shows of its last request: address of the first picture, and the error.
_SHOWN = """tab => {
    const picture = document.querySelector(`#${tab}_gallery img`);
    const error = document.querySelector(`#html_log_${tab} .error`);
    return (picture ? picture.src : "") + " " + (error ? error.textContent : "");
}"""


@dataclass(frozen=True)
class Accordion:
    """The extension's accordion on one tab."""

    page: Page
    tab: str

    def id(self, name: str) -> str:
        return f"script_{self.tab}_diversity_distillation_{name}"

    @property
    def block(self) -> Locator:
        return self.page.locator(f"#{self.id('enabled')}")

    @property
    def checkbox(self) -> Locator:
        return self.page.locator(f"#{self.id('enabled')}-visible-checkbox")

    @property
    def plan(self) -> Locator:
        return prose(self.page, self.id("plan"))

    @property
    def line(self) -> Locator:
        """The plan's levels and calls."""
        return self.plan.locator(".diversity-line")

    @property
    def refused(self) -> Locator:
        """What the last run was refused for."""
        return self.block.locator(".diversity-refused")

    @property
    def base(self) -> Locator:
        """The line that names the loaded checkpoint."""
        return prose(self.page, self.id("base"))

    def model(self, phase: str) -> Locator:
        """The row of "base" or "distilled" in the table below the plan."""
        return self.plan.locator(f"tr.diversity-{phase}")

    def field(self, name: str) -> Locator:
        return self.page.locator(f"#{self.id(name)}")

    @property
    def header(self) -> Locator:
        return self.block.locator("> .label-wrap")

    @property
    def told(self) -> Locator:
        """What the server has said of the panel; there from its first answer on."""
        return self.block.locator(".diversity-told")

    @property
    def state(self) -> Locator:
        """What stands right of the box."""
        return self.header.locator(".diversity-state")

    def open(self) -> Accordion:
        """Click the header; the first opening ticks as well."""
        expect(self.state).to_be_attached()  # until then box and fold are the host's
        self.fold()
        expect(self.field("distilled_model")).to_be_visible()
        expect(self.checkbox).to_be_checked()
        return self

    def fold(self) -> None:
        """Click the triangle, which folds and unfolds."""
        self.header.locator("> span").last.click()

    def group(self, name: str) -> Group:
        return Group(self.page, self.id(f"group_{name}"))

    def reveal(self, name: str) -> Locator:
        """An option's control, its group unfolded."""
        for group in GROUPS:
            if name in group.options:
                self.group(group.name).open()
        return self.field(name)

    def choices(self, name: str) -> list[str]:
        """What a dropdown offers, in order."""
        field = self.reveal(name)
        opened = open_list(field)
        names = offered_names(opened)
        field.locator("input").blur()
        expect(opened).to_be_hidden()
        return names

    def choose(self, name: str, value: str) -> None:
        """Choose in a dropdown; a model may be named without its ending and hash."""
        choose(self.reveal(name), value)
        expect(self.field(name).locator("input").first).to_have_value(_option(value))

    def enter(self, name: str, value: float) -> None:
        """Type into a slider's number box."""
        type_number(self.reveal(name), value)

    def set(self, **values: Any) -> None:
        for name, value in values.items():
            if BY_NAME[name].kind in ("choice", "model", "sampler"):
                self.choose(name, value)
            elif BY_NAME[name].kind == "flag":
                self.reveal(name).locator("input").set_checked(value)
            else:
                self.enter(name, value)

    def values(self) -> dict[str, Any]:
        """Every option as the page shows it."""
        shown: dict[str, Any] = {"enabled": self.checkbox.is_checked()}
        for name, spec in BY_NAME.items():
            if spec.kind in ("choice", "model", "sampler"):
                shown[name] = self.field(name).locator("input").input_value()
            elif spec.kind == "flag":
                shown.setdefault(name, self.field(name).locator("input").first.is_checked())
            else:
                shown[name] = float(self.field(name).locator("input[type=number]").input_value())
        return shown


@dataclass(frozen=True)
class Group:
    """A group of options inside the accordion."""

    page: Page
    id: str

    @property
    def block(self) -> Locator:
        return self.page.locator(f"#{self.id}")

    @property
    def header(self) -> Locator:
        return self.block.locator("> .label-wrap")

    @property
    def changed(self) -> Locator:
        """What its fold says of options that are not as they come."""
        return self.header.locator(".diversity-changed")

    @property
    def reset(self) -> Locator:
        return self.page.locator(f"button#{self.id}_reset")

    def open(self) -> Group:
        """Unfold it, if it is not."""
        if not self.reset.is_visible():
            self.header.click()
            expect(self.reset).to_be_visible()
        return self


@dataclass(frozen=True)
class Tab:
    """txt2img or img2img."""

    page: Page
    name: str

    @property
    def accordion(self) -> Accordion:
        return Accordion(self.page, self.name)

    def element(self, name: str) -> Locator:
        return self.page.locator(f"#{self.name}_{name}")

    @property
    def infotext(self) -> Locator:
        return prose(self.page, f"html_info_{self.name}")

    @property
    def error(self) -> Locator:
        return prose(self.page, f"html_log_{self.name}").locator(".error")

    @property
    def pictures(self) -> Locator:
        return self.element("gallery").locator("img:visible")

    @property
    def generate_button(self) -> Locator:
        return self.element("generate")

    @property
    def interrupt_button(self) -> Locator:
        return self.element("interrupt")

    def show(self) -> Tab:
        self.page.locator("#tabs > .tab-nav > button").filter(has_text=self.name).first.click()
        expect(self.generate_button).to_be_visible()
        return self

    def prompt(self, text: str) -> None:
        self.element("prompt").locator("textarea").fill(text)

    def settings(self, **numbers: float) -> None:
        """The host's own number fields, by the end of their id."""
        for name, value in numbers.items():
            type_number(self.element(name), value)

    def sampler(self, name: str) -> None:
        choose(self.element("sampling"), name)

    def generate(self) -> None:
        """Click Generate and wait for another picture or an error."""
        before = self.page.evaluate(_SHOWN, self.name)
        self.generate_button.click()
        self.page.wait_for_function(f"([tab, before]) => ({_SHOWN})(tab) !== before", arg=[self.name, before])
        self.wait_until_idle()

    def wait_until_idle(self) -> None:
        expect(self.interrupt_button).to_be_hidden()

    def picture(self) -> np.ndarray:
        """The picture shown, [H, W, 3] uint8, as the host's file has it."""
        source = self.pictures.first.get_attribute("src")
        assert source is not None
        answer = self.page.request.get(source)
        return np.asarray(Image.open(io.BytesIO(answer.body())).convert("RGB"))


def prose(page: Page, elem_id: str) -> Locator:
    """The text of an HTML component: gradio 3 gives it the component's id too, gradio 4 the block around it alone."""
    return page.locator(f".prose#{elem_id}, #{elem_id}:not(.prose) .prose").last


def load_checkpoint(page: Page, name: str) -> None:
    """Choose in the drop-down above the tabs; Forge gives it no id, and lists new files when its button is pressed."""
    if (refresh := page.locator("#forge_refresh_checkpoint")).count():
        refresh.click()
    choose(page.locator("#setting_sd_model_checkpoint, #quicksettings .model_selection").last, name)


def open_list(dropdown: Locator) -> Locator:
    """What a drop-down offers. Opened by the keyboard's focus: a list that is still open may lie over the field."""
    field, offered = dropdown.locator("input"), dropdown.locator("ul.options")
    expect(field).to_be_enabled()
    field.blur()
    expect(offered).to_be_hidden()
    field.focus()
    expect(offered).to_be_visible()
    return offered


def choose(dropdown: Locator, value: str) -> None:
    """Both gradios choose when the pointer goes down on a line, wherever the moving list is then."""
    option = _option(value)
    offered = open_list(dropdown)
    names: list[str] = []

    def there() -> bool:
        names[:] = offered_names(offered)
        return any(map(option.match, names))

    until(there, lambda: f"the list holds {names}, and not {value}")
    name = next(name for name in names if option.match(name))
    # By its name, not its place: the list may be made anew meanwhile, with other files.
    offered.locator(f"li.item[aria-label={json.dumps(name)}]").first.dispatch_event("mousedown")
    expect(offered).to_be_hidden()


def _option(value: str) -> re.Pattern[str]:
    """What a drop-down calls it: a file may have its ending, its hash and a mark before it."""
    return re.compile(rf"^\W*{re.escape(value)}(\.safetensors.*)?\s*$")


def offered_names(opened: Locator) -> list[str]:
    """The names in an open list, in gradio's order; a line may say more than its name."""
    names = "items => items.map(item => item.getAttribute('aria-label'))"
    return opened.locator("li.item").evaluate_all(names)


def type_number(slider: Locator, value: float) -> None:
    box = slider.locator("input[type=number]").first
    box.fill(f"{value:g}")
    box.press("Tab")


def press(button: Locator, seen: Locator) -> None:
    """Click until what comes of it is seen: a page that has just been loaded may not listen to its buttons yet."""
    expect(button).to_be_visible()
    until(lambda: _pressed(button, seen), "what comes of the click")


def _pressed(button: Locator, seen: Locator) -> bool:
    if seen.count():
        return True
    if button.is_visible():
        button.dispatch_event("click")
    return False
