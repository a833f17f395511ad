"""What the running job is doing: counters for progress, flags for interrupt and skip, commands to the server."""

from __future__ import annotations

import datetime
import threading
import time
from typing import Any

from modules import devices, errors, shared

_NEW_JOB: dict[str, Any] = {
    **dict.fromkeys(("skipped", "interrupted", "stopping_generation", "processing_has_refined_job_count"), False),
    **dict.fromkeys(("sampling_step", "job_no", "current_image_sampling_step", "id_live_preview"), 0),
    **dict.fromkeys(("current_latent", "current_image", "textinfo"), None),
    "job_count": -1,
}


class State:
    skipped = False
    interrupted = False
    stopping_generation = False
    job = ""
    job_no = 0
    job_count = 0
    processing_has_refined_job_count = False
    job_timestamp = "0"
    sampling_step = 0
    sampling_steps = 0
    current_latent: Any = None
    current_image: Any = None
    current_image_sampling_step = 0
    id_live_preview = 0
    textinfo: str | None = None
    time_start: float = 0.0
    xyz_plot_x: Any
    xyz_plot_y: Any
    xyz_plot_z: Any

    def __init__(self) -> None:
        self.server_start = time.time()
        self._signal = threading.Event()
        self._command: str | None = None

    @property
    def need_restart(self) -> bool:
        return self.server_command == "restart"

    @need_restart.setter
    def need_restart(self, value: bool) -> None:
        if value:
            self.server_command = "restart"

    @property
    def server_command(self) -> str | None:
        return self._command

    @server_command.setter
    def server_command(self, value: str | None) -> None:
        self._command = value
        self._signal.set()

    def wait_for_server_command(self, timeout: float | None = None) -> str | None:
        """The next command ("stop", "restart"), cleared once returned; None after `timeout` seconds."""
        if not self._signal.wait(timeout):
            return None
        self._signal.clear()
        command, self._command = self._command, None
        return command

    def request_restart(self) -> None:
        self.interrupt()
        self.server_command = "restart"

    def skip(self) -> None:
        self.skipped = True

    def interrupt(self) -> None:
        self.interrupted = True

    def stop_generating(self) -> None:
        self.stopping_generation = True

    def nextjob(self) -> None:
        only_finished = shared.opts.show_progress_every_n_steps == -1
        if only_finished and shared.opts.live_previews_enable:
            self.do_set_current_image()
        self.sampling_step = self.current_image_sampling_step = 0
        self.job_no += 1

    def dict(self) -> dict[str, Any]:
        """What the API tells of it."""
        flags = ("skipped", "interrupted", "stopping_generation")
        counters = ("job", "job_count", "job_timestamp", "job_no", "sampling_step", "sampling_steps")
        return {name: getattr(self, name) for name in flags + counters}

    def begin(self, job: str = "(unknown)") -> None:
        for name, value in _NEW_JOB.items():
            setattr(self, name, value)
        now = datetime.datetime.now()
        self.time_start, self.job_timestamp = time.time(), f"{now:%Y%m%d%H%M%S}"
        self.job = job
        devices.torch_gc()

    def end(self) -> None:
        self.job = ""
        self.job_count = 0
        devices.torch_gc()

    def set_current_image(self) -> None:
        """Decodes a preview where at least `show_progress_every_n_steps` steps passed since the last: none at all in a
        4-step run.
        """
        period = shared.opts.show_progress_every_n_steps
        if not shared.parallel_processing_allowed or not shared.opts.live_previews_enable or period == -1:
            return
        if self.sampling_step - self.current_image_sampling_step >= period:
            self.do_set_current_image()

    def do_set_current_image(self) -> None:
        if self.current_latent is None:
            return
        from modules import sd_samplers

        whole_batch = shared.opts.show_progress_grid
        to_image = sd_samplers.samples_to_image_grid if whole_batch else sd_samplers.sample_to_image
        try:
            self.assign_current_image(to_image(self.current_latent))
            self.current_image_sampling_step = self.sampling_step
        except Exception:  # the model may be changing right now; the host passes over it too
            errors.record_exception()

    def assign_current_image(self, image: Any) -> None:
        if shared.opts.live_previews_image_format == "jpeg" and image.mode in ("RGBA", "P"):
            image = image.convert("RGB")
        self.current_image = image
        self.id_live_preview += 1
