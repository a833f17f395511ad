"""The API alone: the hosts list a plot's axes before they tell extensions that there will be a page."""

from __future__ import annotations

from pathlib import Path

from extension_core.options.axes import AXES
from tests.e2e.client import WebUI
from tests.e2e.embedded_host import running_embedded
from tests.e2e.plots import Along, axis_labels, plot


def test_our_axes_are_there_once_and_work(tmp_path: Path) -> None:
    with running_embedded(tmp_path, "--nowebui") as url:
        webui = WebUI(url)
        ours = [label for label in axis_labels(webui) if label.startswith("[Diversity]")]
        assert ours == [axis.label for axis in AXES]
        settings = {"distilled_model": "tiny_distilled", "family": "custom"}
        swept = plot(webui, "tiny_base", Along("[Diversity] Switch step", "0-1"), settings=settings).must_work()
        singles = [webui.generate("tiny_base", {**settings, "switch_step": k}) for k in (0, 1)]
        assert [cell.tobytes() for cell in swept.images[1:]] == [single.images[0].tobytes() for single in singles]
