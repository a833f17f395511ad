"""What the WebUI adds to gradio beside the flavours' `gradio_changes`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from modules import images, paths_internal, script_callbacks, scripts, shared

_serve = gr.routes.templates.TemplateResponse


def _address(file: str) -> str:
    """Another one once the file has changed, so that no browser keeps an old one."""
    return f"file={Path(file).absolute().as_posix()}?{os.stat(file).st_mtime_ns}"


def javascript_html() -> str:
    """The WebUI's own scripts first; modules (.mjs) are executed after all others."""
    tags = [
        f'<script type="{kind}" src="{_address(file.path)}"></script>'
        for kind, ending in (("text/javascript", ".js"), ("module", ".mjs"))
        for file in scripts.list_scripts("javascript", ending)
    ]
    return "\n".join(tags)


def css_html() -> str:
    files = scripts.list_files_with_name("style.css")
    return "\n".join(f'<link rel="stylesheet" href="{_address(file)}">' for file in files)


def reload_javascript() -> None:
    """From now on every page carries the files that are there now."""
    added = {b"</head>": javascript_html(), b"</body>": css_html()}

    def serve(*args: Any, **kwargs: Any) -> Any:
        page = _serve(*args, **kwargs)
        for end, tags in added.items():
            page.body = page.body.replace(end, tags.encode() + end)
        page.headers["content-length"] = str(len(page.body))
        return page

    gr.routes.templates.TemplateResponse = serve  # type: ignore[method-assign]


def allowed_paths() -> list[str]:
    """Folders that the page may fetch files from."""
    folders = [*paths_internal.host_folders, *scripts.extensions]
    return [
        shared.data_path,
        *(str(Path(folder, "javascript")) for folder in folders),
        *scripts.list_files_with_name("style.css"),
    ]


def write_png(picture: Any, folder: Any) -> str:
    """A temporary file with the picture's text fields."""
    os.makedirs(folder, exist_ok=True)
    handle, name = tempfile.mkstemp(".png", dir=folder)
    with os.fdopen(handle, "wb") as file:
        file.write(images.to_bytes(picture))
    return name


def announced(make: Callable[..., None]) -> Callable[..., None]:
    """A component's `__init__` that tells scripts before and after, and adds the class "gradio-<kind>"."""

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        runner = scripts.scripts_current
        if runner is not None:
            runner.announce("before_component", self, kwargs)
        script_callbacks.before_component_callback(self, **kwargs)
        make(self, *args, **kwargs)
        kinds = ["gradio-" + self.get_block_name(), *["multiselect"] * bool(getattr(self, "multiselect", False))]
        self.elem_classes = kinds + list(getattr(self, "elem_classes", None) or ())
        script_callbacks.after_component_callback(self, **kwargs)
        if runner is not None:
            runner.announce("after_component", self, kwargs)

    return init


def tell_tooltips(without: tuple[str, ...] = ()) -> None:
    """Put components' tooltips into the page's configuration, and leave these entries out of it."""
    config_of = gr.blocks.Block.get_config

    def config(self: Any) -> dict[str, Any]:
        told = {name: value for name, value in config_of(self).items() if name not in without}
        tooltip = getattr(self, "webui_tooltip", None)
        return {**told, "webui_tooltip": tooltip} if tooltip else told

    gr.blocks.Block.get_config = config  # type: ignore[method-assign]
