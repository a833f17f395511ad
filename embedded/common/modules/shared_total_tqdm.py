"""The console's progress bar over a whole job."""

from __future__ import annotations

from typing import Any

import tqdm

from modules import shared


class TotalTQDM:
    def __init__(self) -> None:
        self._tqdm: Any = None

    def _bar(self) -> Any:
        """Made when it is first needed; None where the setting is off."""
        if not shared.opts.multiple_tqdm:
            return None
        if self._tqdm is None:
            self.reset()
        return self._tqdm

    def reset(self) -> None:
        steps = shared.state.job_count * shared.state.sampling_steps
        self._tqdm = tqdm.tqdm(desc="Total progress", total=steps, position=1, file=shared.progress_print_out)

    def update(self) -> None:
        bar = self._bar()
        if bar is not None:  # a bar of unknown length is false
            bar.update()

    def updateTotal(self, new_total: int) -> None:
        bar = self._bar()
        if bar is not None:
            bar.total = new_total

    def clear(self) -> None:
        bar, self._tqdm = self._tqdm, None
        if bar is not None:
            bar.refresh()
            bar.close()
