"""The console's progress bar over a whole job."""

from __future__ import annotations

from typing import Any

import tqdm

from modules import shared


class TotalTQDM:
    def __init__(self) -> None:
        self._tqdm: Any = None

    def _enabled(self) -> bool:
        return bool(shared.opts.multiple_tqdm)

    def reset(self) -> None:
        self._tqdm = tqdm.tqdm(
            desc="Total progress",
            total=shared.state.job_count * shared.state.sampling_steps,
            position=1,
            file=shared.progress_print_out,
        )

    def update(self) -> None:
        if not self._enabled():
            return
        if self._tqdm is None:
            self.reset()
        self._tqdm.update()

    def updateTotal(self, new_total: int) -> None:
        if not self._enabled():
            return
        if self._tqdm is None:
            self.reset()
        self._tqdm.total = new_total

    def clear(self) -> None:
        if self._tqdm is not None:
            self._tqdm.refresh()
            self._tqdm.close()
            self._tqdm = None
