"""The embedded WebUI inside this process, without its page, and txt2img requests to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from benches.checkpoints import Files
from benches.timing import Clock, Seconds
from embedded.start import prepare

TITLE = "Diversity Distillation"
_REQUEST = {"prompt": "a monster", "seed": 1, "steps": 4, "cfg_scale": 1.0, "sampler_name": "LCM"}


class Host(ABC):
    """A started host. One a process."""

    flavour: str

    def __init__(self, files: Files, data: Path, threads: int | None, on_card: bool = False) -> None:
        """Args: on_card: compute on the machine's graphics card; else on the processor."""
        arguments = ["--ckpt-dir", str(files.base.parent), "--ckpt", str(files.base), "--data-dir", str(data)]
        arguments += ["--skip-load-model-at-start", "--extensions-dir", str(data / "extensions")]
        # Checkpoints without a yaml share the default one, and only such are reloaded in place.
        arguments += ["--default-config", str(files.config)]
        arguments += [] if on_card else ["--use-cpu", "all"]
        prepare(self.flavour, [*arguments, *(["--threads", str(threads)] if threads else [])])
        from modules import initialize

        initialize.imports()
        from modules import script_callbacks, scripts, sd_models, shared, ui
        from modules.api import script_arguments

        initialize.initialize()
        script_callbacks.before_ui_callback()
        ui.create_ui()
        self._runner: Any = scripts.scripts_txt2img
        self._defaults = script_arguments.defaults(self._runner)
        self.models: Any = sd_models
        self.shared: Any = shared
        self.load(files.base)

    @abstractmethod
    def unets(self) -> list[torch.nn.Module]:
        """The modules that run U-Net calls, the base's first."""

    @abstractmethod
    def weights_on_card(self) -> int:
        """Bytes of U-Net weights that are where the host computes, counted tensor by tensor."""

    @abstractmethod
    def load(self, path: Path) -> None:
        """Make a checkpoint the host's model."""

    def generate(self, size: int, arguments: Mapping[str, Any], **request: Any) -> Seconds:
        """Run one txt2img request with the extension's arguments; returns the time spent in its `p.sample`.

        Args:
            request: fields of the host's processing object, in place of four LCM steps at CFG 1.
        """
        from modules import processing
        from modules.api import script_arguments

        ours = {TITLE: {"args": [dict(arguments)]}}
        api_request = SimpleNamespace(alwayson_scripts=ours, script_name="", script_args=[])
        script_args = script_arguments.settled(api_request, self._defaults, {}, self._runner)
        with closing(
            _timed(processing.StableDiffusionProcessingTxt2Img)(
                sd_model=self.shared.sd_model,
                width=size,
                height=size,
                **{**_REQUEST, **request},
                do_not_save_samples=True,
                do_not_save_grid=True,
            )
        ) as p:
            p.is_api, p.scripts, p.script_args = True, self._runner, tuple(script_args)
            self.shared.state.begin(job="bench")
            try:
                processing.process_images(p)
            finally:
                self.shared.state.end()
                self.shared.total_tqdm.clear()
            return p.seconds


def _timed(processing_class: Any) -> Any:
    """The host's processing class, which times its `sample`, also where a script has put one of its own there."""

    class Timed(processing_class):
        seconds = Seconds()

        def __getattribute__(self, name: str) -> Any:
            found = super().__getattribute__(name)
            return _clocked(self, found) if name == "sample" else found

    return Timed


def _clocked(p: Any, sample: Callable[..., Any]) -> Callable[..., Any]:
    def clocked(*args: Any, **kwargs: Any) -> Any:
        clock = Clock()
        result = sample(*args, **kwargs)
        p.seconds = clock.read()
        return result

    return clocked
