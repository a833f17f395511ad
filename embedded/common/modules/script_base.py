"""The class that scripts derive from, and what its hooks are handed."""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

_IN_IDS = string.ascii_lowercase + string.digits + "_"
AlwaysVisible = object()
"""What `show` returns for a script that runs in every request, without being selected."""


@dataclass(eq=False)
class MaskBlendArgs:
    """At a step's blending `denoiser` and `sigma` are those of the step."""

    current_latent: Any
    nmask: Any
    init_latent: Any
    mask: Any
    blended_latent: Any
    denoiser: Any = None
    sigma: Any = None

    def __post_init__(self) -> None:
        self.is_final_blend = self.denoiser is None


@dataclass(eq=False)
class PostSampleArgs:
    samples: Any


@dataclass(eq=False)
class PostprocessImageArgs:
    image: Any


@dataclass(eq=False)
class PostProcessMaskOverlayArgs:
    index: int
    mask_for_overlay: Any
    overlay_image: Any


@dataclass(eq=False)
class PostprocessBatchListArgs:
    images: list[Any]


@dataclass
class OnComponent:
    component: Any


ComponentCallback = Callable[[OnComponent], Any]


class Script:
    """One entry of the page. Hooks get the values of the components that `ui` returned, by position, after `p`; what
    they raise is reported and swallowed, but for `run`, which is called in the open.
    """

    name: str | None = None
    section: str | None = None
    filename: str = ""
    args_from: int = 0
    args_to: int = 0
    alwayson = False
    is_txt2img = False
    is_img2img = False
    tabname: str | None = None
    group: Any = None
    create_group = True
    infotext_fields: list[Any] | None = None
    paste_field_names: list[str] | None = None
    api_info: Any = None
    wanted_components: list[tuple[str, str, ComponentCallback]] | None = None
    """(hook, elem_id, what is called): `on_before_component` and `on_after_component` of this script."""
    setup_for_ui_only = False
    controls: Any = None

    HOOKS: ClassVar[tuple[str, ...]] = (
        "setup",
        "before_process",
        "process",
        "before_process_batch",
        "after_extra_networks_activate",
        "process_batch",
        "process_before_every_sampling",
        "postprocess_batch",
        "postprocess_batch_list",
        "on_mask_blend",
        "post_sample",
        "postprocess_image",
        "postprocess_maskoverlay",
        "postprocess_image_after_composite",
        "postprocess",
        "before_hr",
    )

    def title(self) -> str:
        """The name in the dropdown and, in lower case, in the API. Must be overridden."""
        raise NotImplementedError

    def ui(self, is_img2img: bool) -> Any:
        """Makes the components and returns those whose values the hooks get. Called once a tab, and again by the API
        for defaults.
        """

    def show(self, is_img2img: bool) -> Any:
        """False: absent from this tab; True: selectable in the dropdown; AlwaysVisible: part of every request."""
        return True

    def run(self, p: Any, *args: Any) -> Any:
        """For a selected script: does the whole generation and returns its Processed."""

    def setup(self, p: Any, *args: Any) -> None:
        """When `p` has both its scripts and its arguments, before anything runs."""

    def before_process(self, p: Any, *args: Any) -> None:
        """First hook; the checkpoint of the request is not settled yet."""

    def process(self, p: Any, *args: Any) -> None:
        """Once a request, after prompts and seeds are laid out."""

    def before_process_batch(self, p: Any, *args: Any, **kwargs: Any) -> None:
        """Before `<lora:...>` and the like are taken out of the prompts; kwargs: batch_number, prompts, seeds,
        subseeds.
        """

    def after_extra_networks_activate(self, p: Any, *args: Any, **kwargs: Any) -> None:
        """Also called for the hires pass; kwargs as above and extra_network_data."""

    def process_batch(self, p: Any, *args: Any, **kwargs: Any) -> None:
        """Before conditioning is computed."""

    def process_before_every_sampling(self, p: Any, *args: Any, **kwargs: Any) -> None:
        """Before each sampling, so twice with hires; kwargs: x, noise, c, uc."""

    def postprocess_batch(self, p: Any, *args: Any, **kwargs: Any) -> None:
        """kwargs: batch_number, images (float [B, 3, H, W], 0 to 1)."""

    def postprocess_batch_list(self, p: Any, pp: PostprocessBatchListArgs, *args: Any, **kwargs: Any) -> None:
        """As above with a list that may be changed."""

    def on_mask_blend(self, p: Any, mba: MaskBlendArgs, *args: Any) -> None:
        """At each blending of an inpainting, and at the last one with no denoiser."""

    def post_sample(self, p: Any, ps: PostSampleArgs, *args: Any) -> None:
        """Latents after sampling, before they are decoded."""

    def postprocess_image(self, p: Any, pp: PostprocessImageArgs, *args: Any) -> None:
        """Each image."""

    def postprocess_maskoverlay(self, p: Any, ppmo: PostProcessMaskOverlayArgs, *args: Any) -> None:
        """Each image of an inpainting, before the original is laid around it."""

    def postprocess_image_after_composite(self, p: Any, pp: PostprocessImageArgs, *args: Any) -> None:
        """Each image, after that."""

    def postprocess(self, p: Any, processed: Any, *args: Any) -> None:
        """Last hook; not reached where something outside a hook raised."""

    def before_component(self, component: Any, **kwargs: Any) -> None:
        """Before any component of the page is made."""

    def after_component(self, component: Any, **kwargs: Any) -> None:
        """After any component of the page is made."""

    def before_hr(self, p: Any, *args: Any) -> None:
        """Before the hires pass samples."""

    def on_before_component(self, callback: ComponentCallback, *, elem_id: str) -> None:
        """Calls back before the component with this id is made."""
        self._want("before_component", elem_id, callback)

    def on_after_component(self, callback: ComponentCallback, *, elem_id: str) -> None:
        """Calls back after the component with this id is made."""
        self._want("after_component", elem_id, callback)

    def _want(self, hook: str, elem_id: str, callback: ComponentCallback) -> None:
        self.wanted_components = [*(self.wanted_components or []), (hook, elem_id, callback)]

    def elem_id(self, item_id: str) -> str:
        """An id for the page, made of the tab, where the script shows alike in both, the title and `item_id`."""
        words = "_".join(self.title().lower().split())
        title = "".join(letter for letter in words if letter in _IN_IDS)
        return f"script_{self._tab()}{title}_{item_id}"

    def _tab(self) -> str:
        alike = self.show(is_img2img=True) == self.show(is_img2img=False)
        return f"{self.tabname}_" if alike else ""


class ScriptBuiltinUI(Script):
    """Parts of the page that are built as scripts. Over the API their `setup` does not run, so they do not override the
    request.
    """

    setup_for_ui_only = True

    def elem_id(self, item_id: str) -> str:
        return self._tab() + item_id

    def show(self, is_img2img: bool) -> Any:
        return AlwaysVisible
