"""--lowvram and --medvram on the A1111 flavour, as far as they concern extensions: what they forbid."""

from __future__ import annotations

import pytest

from tests.embedded.conftest import Host

pytestmark = pytest.mark.a1111


@pytest.mark.parametrize("flag", ["lowvram", "medvram"])
def test_no_other_thread_may_use_the_models_device(host: Host, monkeypatch: pytest.MonkeyPatch, flag: str) -> None:
    from modules import lowvram, sd_models, shared

    host.txt2img(steps=1)
    assert shared.parallel_processing_allowed
    monkeypatch.setattr(shared.cmd_opts, flag, True)
    sd_models.send_model_to_device(shared.sd_model)
    assert not shared.parallel_processing_allowed
    assert lowvram.is_enabled(shared.sd_model)
    shared.state.current_latent, shared.state.sampling_step = object(), 99
    shared.state.set_current_image()  # a server thread's previews: not tried, or it would have failed on the latent
    shared.state.current_latent = None
    assert host.txt2img(steps=1).status == 200
    monkeypatch.undo()
    sd_models.send_model_to_device(shared.sd_model)
    assert shared.parallel_processing_allowed
    assert not lowvram.is_enabled(shared.sd_model)


def test_medvram_sdxl_asks_for_sdxl(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    from modules import lowvram, shared

    monkeypatch.setattr(shared.cmd_opts, "medvram_sdxl", True)
    assert not lowvram.is_needed(shared.sd_model)
