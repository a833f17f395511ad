"""Scripts and stylesheets of the host and of extensions, put into the page that gradio serves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gradio as gr

from modules import paths_internal, scripts, shared

_original = gr.routes.templates.TemplateResponse


def webpath(fn: str) -> str:
    return f"file={Path(fn).absolute().as_posix()}?{os.path.getmtime(fn)}"


def javascript_html() -> str:
    """The host's own first; then extensions' in the order of their metadata."""
    head = ""
    for file in scripts.list_scripts("javascript", ".js"):
        head += f'<script type="text/javascript" src="{webpath(file.path)}"></script>\n'
    for file in scripts.list_scripts("javascript", ".mjs"):
        head += f'<script type="module" src="{webpath(file.path)}"></script>\n'
    if shared.cmd_opts.theme:
        head += f'<script type="text/javascript">set_theme("{shared.cmd_opts.theme}");</script>\n'
    return head


def css_html() -> str:
    files = scripts.list_files_with_name("style.css")
    user_css = os.path.join(shared.data_path, "user.css")
    if os.path.isfile(user_css):
        files.append(user_css)
    return "".join(f'<link rel="stylesheet" property="stylesheet" href="{webpath(x)}">' for x in files)


def reload_javascript() -> None:
    """From now on every page carries the files that are there now."""
    js, css = javascript_html(), css_html()

    def template_response(*args: Any, **kwargs: Any) -> Any:
        res = _original(*args, **kwargs)
        res.body = res.body.replace(b"</head>", f'{js}<meta name="referrer" content="no-referrer"/></head>'.encode())
        res.body = res.body.replace(b"</body>", f"{css}</body>".encode())
        res.init_headers()
        return res

    gr.routes.templates.TemplateResponse = template_response  # type: ignore[method-assign]


def allowed_paths() -> list[str]:
    """Folders that the page may fetch files from."""
    from modules import extensions

    roots = (*paths_internal.host_folders, *(x.path for x in extensions.active()))
    folders = [os.path.join(path, "javascript") for path in roots]
    files = scripts.list_files_with_name("style.css")
    return [shared.data_path, *folders, *files]
