"""How scripts are found, laid out and called, and what becomes of their exceptions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.embedded.conftest import Host

pytestmark = pytest.mark.a1111

On = Callable[[str], Callable[[Callable[..., Any]], Callable[..., Any]]]
HOOKS_OF_ONE_BATCH = [
    "setup", "before_process", "process", "before_process_batch", "after_extra_networks_activate", "process_batch",
    "process_before_every_sampling", "post_sample", "postprocess_batch", "postprocess_batch_list", "postprocess_image",
    "postprocess_maskoverlay", "postprocess_image_after_composite", "postprocess",
]  # fmt: skip


def _hooks(host: Host) -> list[str]:
    from modules import scripts

    return [name for name in host.names() if name in scripts.Script.HOOKS]


def test_hooks_run_in_the_hosts_order(host: Host) -> None:
    assert host.txt2img().status == 200
    assert _hooks(host) == HOOKS_OF_ONE_BATCH


def test_the_hires_pass_runs_inside_sample_and_announces_a_second_sampling(host: Host) -> None:
    host.txt2img(enable_hr=True, hr_upscaler="Latent", denoising_strength=0.6)
    names = _hooks(host)
    assert names.count("process_before_every_sampling") == 2
    assert names.count("after_extra_networks_activate") == 2
    second = len(names) - 1 - names[::-1].index("process_before_every_sampling")
    assert names[second - 1] == "before_hr"
    assert second < names.index("post_sample")


@pytest.mark.parametrize("hook", HOOKS_OF_ONE_BATCH)
def test_an_exception_in_a_hook_is_reported_and_swallowed(
    host: Host, on: On, hook: str, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = host.txt2img()

    @on(hook)
    def fail(*args: Any) -> None:
        raise RuntimeError("raised on purpose")

    assert host.txt2img().equals(clean)
    assert "raised on purpose" in capsys.readouterr().err


@pytest.mark.parametrize("callback", ["cfg_denoiser", "cfg_denoised", "cfg_after_cfg"])
def test_an_exception_in_a_callback_is_swallowed_too(host: Host, on: On, callback: str) -> None:
    clean = host.txt2img()

    @on(callback)
    def fail(*args: Any) -> None:
        raise RuntimeError("raised on purpose")

    assert host.txt2img().equals(clean)


@pytest.mark.parametrize("kind", ["HTTPException", "ValueError", "MemoryError"])
def test_what_a_wrapped_sample_raises_reaches_the_client(host: Host, on: On, kind: str) -> None:
    from fastapi import HTTPException

    errors = {"HTTPException": HTTPException(422, "A sentence."), "ValueError": ValueError("A sentence.")}
    error = errors.get(kind, MemoryError("A sentence."))

    @on("process")
    def wrap(p: Any, *args: Any) -> None:
        def sample(**kwargs: Any) -> None:
            raise error

        p.sample = sample

    answer = host.txt2img()
    assert set(answer.body) == {"error", "detail", "body", "errors"}
    assert answer.body["error"] == kind
    if kind == "HTTPException":
        assert (answer.status, answer.body["detail"]) == (422, "A sentence.")
    else:
        assert (answer.status, answer.body["errors"]) == (500, "A sentence.")


def test_a_failed_request_leaves_the_next_one_alone(host: Host, on: On) -> None:
    clean = host.txt2img()

    @on("process")
    def wrap(p: Any, *args: Any) -> None:
        p.sample = lambda **kwargs: 1 / 0

    assert host.txt2img().status == 500
    host.recorder.actions.clear()
    assert host.txt2img().equals(clean)


def test_before_process_sees_the_model_of_before(host: Host, on: On) -> None:
    from modules import shared

    host.txt2img()
    loaded = {}
    for hook in ("before_process", "process"):
        on(hook)(lambda p, *args, hook=hook: loaded.update({hook: shared.sd_model.sd_checkpoint_info.name_for_extra}))
    host.txt2img(override_settings={"sd_model_checkpoint": "second"})
    assert loaded == {"before_process": "base", "process": "second"}


def test_arguments_are_laid_over_the_defaults_by_position(host: Host) -> None:
    host.txt2img()
    host.txt2img(alwayson_scripts={"recorder": {"args": [True]}})
    host.txt2img(alwayson_scripts={"RECORDER": {"args": [{"enabled": True}, 3, "surplus"]}})
    given = [args[1:-1] for args in host.seen("process")]
    assert given == [(False, 7), (True, 7), ({"enabled": True}, 3)]


def test_a_selected_script_does_the_generation_itself(host: Host) -> None:
    answer = host.txt2img(script_name="selectable", script_args=["given"])
    assert answer.status == 200
    assert host.seen("run")[0][1] == "given"
    assert host.names().index("run") < host.names().index("before_process")


def test_unknown_scripts_are_refused(host: Host) -> None:
    assert host.txt2img(script_name="nix").body["detail"] == "Script 'nix' not found"
    assert host.txt2img(alwayson_scripts={"nix": {"args": []}}).status == 422
    selectable = host.txt2img(alwayson_scripts={"selectable": {"args": []}})
    assert selectable.body["detail"] == "Cannot have a selectable script in the always on scripts params"


def test_the_page_and_the_api_each_ask_for_components(host: Host) -> None:
    """Once a tab for the page, then twice a tab for the API's defaults."""
    assert host.recorder.uis[:6] == [False, True, False, False, True, True]


def test_every_subclass_in_a_script_file_is_registered(host: Host) -> None:
    from modules import scripts

    own = [x.script_class.__name__ for x in scripts.scripts_data if "recorder" in x.path]
    assert sorted(own) == ["ImportedBase", "Recorder", "Selectable"]


def test_basedir_is_the_extensions_folder_while_it_loads(host: Host) -> None:
    from modules import paths, scripts, shared

    assert host.recorder.executions[0] == str(Path(shared.cmd_opts.extensions_dir) / "recorder")
    assert scripts.basedir() == paths.script_path


def test_reload_executes_scripts_again_but_not_what_they_import(host: Host) -> None:
    from modules import script_callbacks, scripts

    before, runners = len(host.recorder.executions), (scripts.scripts_txt2img, scripts.scripts_img2img)
    callbacks = {k: list(v) for k, v in script_callbacks.callback_map.items()}
    try:
        scripts.reload_scripts()
        assert len(host.recorder.executions) == before + 1
        denoiser = [x.name for x in script_callbacks.callback_map["callbacks_cfg_denoiser"]]
        assert denoiser == ["recorder/recorder.py/cfg_denoiser"]
        assert scripts.scripts_txt2img is not runners[0]
    finally:
        scripts.scripts_txt2img, scripts.scripts_img2img = runners
        for key, kept in callbacks.items():
            script_callbacks.callback_map[key][:] = kept
        script_callbacks.ordered_callbacks_map.clear()


def test_ids_hold_the_tab_where_a_script_shows_in_both(host: Host) -> None:
    from modules import scripts

    recorder = next(x for x in scripts.scripts_txt2img.scripts if x.title() == "Recorder")
    assert recorder.elem_id("enabled") == "script_txt2img_recorder_enabled"


def test_builtin_parts_of_the_page_do_not_override_api_requests(host: Host) -> None:
    assert "Steps: 4, " in host.txt2img().infotext


def test_this_checkout_is_an_extension_unless_asked_otherwise(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    from modules import extensions, paths_internal, shared

    assert paths_internal.checkout_path not in extensions.extension_paths
    monkeypatch.setattr(shared.cmd_opts, "without_self", False)
    try:
        extensions.list_extensions()
        assert paths_internal.checkout_path in extensions.extension_paths
    finally:
        monkeypatch.undo()
        extensions.list_extensions()
