"""The class that scripts derive from, and what its hooks are handed."""

from __future__ import annotations

import string
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

_IN_IDS = string.ascii_lowercase + string.digits + "_"
AlwaysVisible = object()
"""What `show` returns for a script that runs in every request, without being selected."""
ComponentCallback = Callable[[SimpleNamespace], Any]


def _nothing(self: Any, *args: Any, **kwargs: Any) -> None:
    """A hook that a script has not."""


class Script:
    """One entry of the page. Hooks get the values of the components that `ui` returned, by position, after `p`; what
    they raise is reported and swallowed, but for `run`, which is called in the open.
    """

    name: str | None = None
    section: str | None = None
    filename: str = ""
    args_from: int = 0
    args_to: int = 0
    alwayson = is_txt2img = is_img2img = False
    tabname: str | None = None
    group: Any = None
    create_group = True
    infotext_fields: list[Any] | None = None
    paste_field_names: list[str] | None = None
    wanted_components: tuple[tuple[str, ComponentCallback], ...] = ()
    """(elem_id, what is called once that component is made)."""
    setup_for_ui_only = False
    controls: Any = None

    # Hooks, in the order of a request. `setup` comes when `p` has its scripts and their arguments, `before_process`
    # before the request's checkpoint is settled, `process` after prompts and seeds are laid out. Those of a batch get
    # `batch_number` and the like by name; `process_before_every_sampling` x, noise, c and uc, before each pass.
    setup = before_process = process = _nothing
    before_process_batch = after_extra_networks_activate = process_batch = process_before_every_sampling = _nothing
    before_hr = on_mask_blend = post_sample = postprocess_batch = postprocess_batch_list = _nothing
    postprocess_image = postprocess_maskoverlay = postprocess_image_after_composite = postprocess = _nothing
    # Of components of the page, before they are made and after.
    before_component = after_component = _nothing
    HOOKS = (
        *("setup", "before_process", "process", "before_process_batch", "after_extra_networks_activate"),
        *("process_batch", "process_before_every_sampling", "before_hr", "on_mask_blend", "post_sample"),
        *("postprocess_batch", "postprocess_batch_list", "postprocess_image", "postprocess_maskoverlay"),
        *("postprocess_image_after_composite", "postprocess"),
    )

    def title(self) -> str:
        """The name in the dropdown and, in lower case, in the API. Must be overridden."""
        raise NotImplementedError

    def ui(self, is_img2img: bool) -> Any:
        """Makes components, and returns those whose values hooks get; called for a tab, and by the API for values."""

    def show(self, is_img2img: bool) -> Any:
        """False: absent from this tab; True: selectable in the dropdown; AlwaysVisible: part of every request."""
        return True

    def run(self, p: Any, *args: Any) -> Any:
        """For a selected script: does the whole generation and returns its Processed."""

    def on_after_component(self, callback: ComponentCallback, *, elem_id: str) -> None:
        """Calls back after the component with this id is made."""
        self.wanted_components = (*self.wanted_components, (elem_id, callback))

    def elem_id(self, item_id: str) -> str:
        """An id for the page, made of the tab, where the script shows alike in both, the title and `item_id`."""
        words = "_".join(self.title().lower().split())
        title = "".join(letter for letter in words if letter in _IN_IDS)
        return f"script_{self._tab()}{title}_{item_id}"

    def _tab(self) -> str:
        alike = self.show(is_img2img=True) == self.show(is_img2img=False)
        return f"{self.tabname}_" if alike else ""


class ScriptBuiltinUI(Script):
    """Parts of the page that are built as scripts. Over the API their `setup` does not run."""

    setup_for_ui_only = True

    def elem_id(self, item_id: str) -> str:
        return self._tab() + item_id

    def show(self, is_img2img: bool) -> Any:
        return AlwaysVisible
