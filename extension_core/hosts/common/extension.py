"""The extension on a host that it can work with: what the doorway calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modules import script_callbacks, shared

from extension_core.hosts.common import hooks
from extension_core.hosts.common.http import settings_routes
from extension_core.hosts.common.page import build, host_components
from extension_core.hosts.common.preview.decoders import DECODERS
from extension_core.hosts.common.preview.frame_routes import add_routes
from extension_core.hosts.common.xyz.axes import add_axes
from extension_core.hosts.protocols import Host


class Extension:
    """Over one host, whose kind only `Host` knows."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def register(self) -> None:
        """Callbacks of the host; on every execution of the script, for "Reload UI" clears them."""
        self.host.watch_model_changes()
        DECODERS.use(self.host.decoding)
        script_callbacks.on_before_image_saved(hooks.image_named)
        script_callbacks.on_before_ui(add_axes)
        if shared.cmd_opts.nowebui:  # the API alone lists the axes before that callback (webui.py `api_only`, 1.10.1)
            add_axes()
        script_callbacks.on_app_started(lambda _demo, app: add_routes(app))
        script_callbacks.on_app_started(lambda _demo, app: settings_routes.add_routes(self.host, app))

    def build_panel(self, script: Any, host_settings: dict[str, Any]) -> list[Any]:
        """The accordion; its inputs in the options' order."""
        return build.build(self.host, script, host_settings)

    def begin(self, p: Any, args: Sequence[Any]) -> None:
        """As `hooks.begin`."""
        hooks.begin(self.host, p, args)

    note_setting = staticmethod(host_components.note_setting)
    setup = staticmethod(hooks.setup)
    before = staticmethod(hooks.before)
    before_batch = staticmethod(hooks.before_batch)
    before_sampling = staticmethod(hooks.before_sampling)
    image_finished = staticmethod(hooks.image_finished)
    after = staticmethod(hooks.after)
