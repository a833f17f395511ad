"""Passes that other extensions make within a request of ours, when its images are being finished."""

from __future__ import annotations

from modules import shared

PAINTED = (
    "Another extension has painted in the finished image (as ADetailer does), on the loaded checkpoint alone and with "
    "your own steps, sampler and CFG; to have both models there, add diversity_distillation to its list of scripts "
    "(ADetailer's setting ad_script_names)."
)


class _Tally:
    """Jobs of the host's progress bar that were ours, since the process began; no request's."""

    jobs = 0


class InnerPasses:
    """Notices, after a batch of a request was sampled, whether others have sampled since.

    The host counts a job up for each batch that has been sampled (`state.nextjob`, modules/processing.py, 1.10.1),
    whoever asked for it, and makes one request at a time.
    """

    def __init__(self) -> None:
        self._jobs: int | None = None
        self._ours = 0

    def sampled(self, jobs_before: int) -> None:
        """A batch of the request was sampled; the host is about to count it."""
        _Tally.jobs += shared.state.job_no - jobs_before + 1
        self._jobs, self._ours = shared.state.job_no + 1, _Tally.jobs

    def found(self) -> bool:
        """Whether others have sampled since the last batch; passes with both models are not theirs."""
        if self._jobs is None:
            return False
        return shared.state.job_no - self._jobs > _Tally.jobs - self._ours
