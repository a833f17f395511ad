"""What the running job is doing: counters for its progress, flags that end it, commands to the server."""

from __future__ import annotations

import datetime
import queue
import time
from typing import Any

from modules import devices, errors, shared


class State:
    """Counts of steps and jobs, and flags: samplers look at `interrupted` and `skipped`, batches at the third."""

    job = ""
    job_timestamp = "0"
    job_no = job_count = 0
    sampling_step = sampling_steps = 0
    skipped = interrupted = stopping_generation = False
    processing_has_refined_job_count = False
    textinfo: str | None = None
    time_start = 0.0
    current_latent: Any = None
    current_image: Any = None
    current_image_sampling_step = 0
    id_live_preview = 0

    def __init__(self) -> None:
        self._commands: queue.SimpleQueue[str] = queue.SimpleQueue()

    def begin(self, job: str = "(unknown)") -> None:
        """A job with nothing done; how many there are is told by whoever processes it."""
        self.job, self.job_no, self.job_count = job, 0, -1
        self.sampling_step = self.current_image_sampling_step = self.id_live_preview = 0
        self.current_latent = self.current_image = self.textinfo = None
        self.skipped = self.interrupted = self.stopping_generation = False
        self.processing_has_refined_job_count = False
        self.time_start = time.time()
        self.job_timestamp = datetime.datetime.now().strftime("%Y%m%d%H%M%S")

    def end(self) -> None:
        self.job, self.job_count = "", 0
        devices.torch_gc()

    def nextjob(self) -> None:
        self.job_no += 1
        self.sampling_step = self.current_image_sampling_step = 0

    def skip(self) -> None:
        self.skipped = True

    def interrupt(self) -> None:
        self.interrupted = True

    def stop_generating(self) -> None:
        self.stopping_generation = True

    def fraction(self) -> float:
        """How much of the job is done, 0 to 1."""
        if self.job_count <= 0:
            return 0.0
        of_this_one = self.sampling_step / self.sampling_steps if self.sampling_steps else 0.0
        return min((self.job_no + of_this_one) / self.job_count, 1.0)

    def dict(self) -> dict[str, Any]:
        """What the API tells of it."""
        told = "skipped interrupted stopping_generation job job_count job_timestamp job_no sampling_step sampling_steps"
        return {name: getattr(self, name) for name in told.split()}

    def command(self, command: str) -> None:
        """ "stop" or "restart", to the thread that runs the server."""
        self._commands.put(command)

    def wait_for_server_command(self) -> str:
        while self._commands.empty():
            time.sleep(0.2)  # an endless wait hears no Ctrl+C on Windows
        return self._commands.get()

    def set_current_image(self) -> None:
        """A preview of the first picture, if enough steps were made since the last: a run of 4 steps has none."""
        from modules import sd_samplers_common

        due = self.sampling_step >= self.current_image_sampling_step + 10
        if not (due and shared.parallel_processing_allowed) or self.current_latent is None:
            return
        try:
            self.assign_current_image(sd_samplers_common.single_sample_to_image(self.current_latent[0]))
        except Exception as fault:  # the model may be changing right now
            errors.display(fault, "making a preview")
        else:
            self.current_image_sampling_step = self.sampling_step

    def assign_current_image(self, image: Any) -> None:
        self.current_image = image
        self.id_live_preview += 1
