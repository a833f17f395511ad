"""What the embedded WebUI does that the extension stands on: hooks and their exceptions, arguments by position, answers
of the API, files, the page's generations.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from tests.embedded.conftest import FLAVOUR, Host, page_generate, png_base64

On = Callable[[str], Callable[[Callable[..., Any]], Callable[..., Any]]]
HOOKS_OF_ONE_BATCH = [
    "setup", "before_process", "process", "before_process_batch", "after_extra_networks_activate", "process_batch",
    "process_before_every_sampling", "post_sample", "postprocess_batch", "postprocess_batch_list", "postprocess_image",
    "postprocess_maskoverlay", "postprocess_image_after_composite", "postprocess",
]  # fmt: skip


class TestHooks:
    def of(self, host: Host) -> list[str]:
        from modules import scripts

        return [name for name in host.names() if name in scripts.Script.HOOKS]

    def test_run_in_the_hosts_order(self, host: Host) -> None:
        assert host.txt2img().status == 200
        assert self.of(host) == HOOKS_OF_ONE_BATCH

    def test_the_hires_pass_announces_a_second_sampling(self, host: Host) -> None:
        host.txt2img(enable_hr=True, hr_upscaler="Latent", denoising_strength=0.6, hr_additional_modules=["Built-in"])
        names = self.of(host)
        assert names.count("process_before_every_sampling") == (3 if FLAVOUR == "forge" else 2)
        assert names.index("before_hr") < names.index("post_sample")

    @pytest.mark.parametrize("hook", [*HOOKS_OF_ONE_BATCH, "cfg_denoiser", "cfg_after_cfg"])
    def test_what_they_raise_is_reported_and_swallowed(self, host: Host, on: On, hook: str, capsys: Any) -> None:
        clean = host.txt2img()

        @on(hook)
        def fail(*args: Any) -> None:
            raise RuntimeError("raised on purpose")

        assert host.txt2img().equals(clean)
        assert "raised on purpose" in capsys.readouterr().err

    @pytest.mark.parametrize("kind", ["HTTPException", "ValueError", "MemoryError"])
    def test_what_a_wrapped_sample_raises_reaches_the_client(self, host: Host, on: On, kind: str) -> None:
        from fastapi import HTTPException

        faults = {"HTTPException": HTTPException(422, "A sentence."), "ValueError": ValueError("A sentence.")}

        @on("process")
        def wrap(p: Any, *args: Any) -> None:
            def sample(**kwargs: Any) -> None:
                raise faults.get(kind, MemoryError("A sentence."))

            p.sample = sample

        answer = host.txt2img()
        said = {key: answer.body.get(key) for key in ("detail", "errors", "message")}
        assert "A sentence." in said.values()
        assert answer.status == (422 if kind == "HTTPException" else 500)
        host.recorder.actions.clear()
        assert host.txt2img().status == 200

    def test_before_process_sees_the_model_of_before(self, host: Host, on: On) -> None:
        from modules import shared

        host.txt2img()
        loaded = {}
        for hook in ("before_process", "process"):
            on(hook)(lambda p, *_, hook=hook: loaded.update({hook: shared.sd_model.sd_checkpoint_info.name_for_extra}))
        host.txt2img(override_settings={"sd_model_checkpoint": "second"})
        assert loaded["before_process"] == "base"
        assert FLAVOUR == "forge" or loaded["process"] == "second"


class TestArguments:
    def test_are_laid_over_the_defaults_by_position(self, host: Host) -> None:
        host.txt2img()
        host.txt2img(alwayson_scripts={"recorder": {"args": [True]}})
        host.txt2img(alwayson_scripts={"RECORDER": {"args": [{"enabled": True}, 3, "surplus"]}})
        assert [args[1:-1] for args in host.seen("process")] == [(False, 7), (True, 7), ({"enabled": True}, 3)]

    def test_a_selected_script_does_the_generation_itself(self, host: Host) -> None:
        assert host.txt2img(script_name="selectable", script_args=["given"]).status == 200
        assert host.seen("run")[0][1] == "given"
        assert host.names().index("run") < host.names().index("before_process")

    def test_unknown_scripts_are_refused(self, host: Host) -> None:
        assert host.txt2img(script_name="nix").body["detail"] == "Script 'nix' not found"
        assert host.txt2img(alwayson_scripts={"nix": {"args": []}}).status == 422
        assert host.txt2img(alwayson_scripts={"selectable": {"args": []}}).status == 422

    def test_wrong_types_are_refused_before_anything_runs(self, host: Host) -> None:
        assert host.txt2img(steps="many").status == 422
        assert host.names() == []


class TestScripts:
    def test_every_subclass_in_a_file_is_registered(self, host: Host) -> None:
        from modules import paths, scripts, shared

        own = [known.script_class.__name__ for known in scripts.scripts_data if "recorder" in known.path]
        assert sorted(own) == ["ImportedBase", "Recorder", "Selectable"]
        assert host.recorder.executions[0] == str(Path(shared.cmd_opts.extensions_dir) / "recorder")
        assert scripts.basedir() == paths.script_path

    def test_reload_executes_them_again_but_not_what_they_import(self, host: Host) -> None:
        from modules import script_callbacks, scripts

        before, runners = len(host.recorder.executions), (scripts.scripts_txt2img, scripts.scripts_img2img)
        callbacks = {event: list(known) for event, known in script_callbacks.callback_map.items()}
        try:
            scripts.reload_scripts()
            assert len(host.recorder.executions) == before + 1
            assert len(script_callbacks.callback_map["cfg_denoiser"]) == len(callbacks["cfg_denoiser"])
            assert scripts.scripts_txt2img is not runners[0]
        finally:
            scripts.scripts_txt2img, scripts.scripts_img2img = runners
            script_callbacks.callback_map.update(callbacks)

    def test_components_are_announced_with_class_and_tooltip(self, host: Host) -> None:
        with gr.Blocks():
            slider = gr.Slider(label="x", tooltip="told")  # type: ignore[call-arg]
        assert slider.get_config()["webui_tooltip"] == "told"
        assert "gradio-slider" in slider.elem_classes


class TestInfotext:
    def test_the_picture_carries_it_and_it_makes_the_picture_again(self, host: Host) -> None:
        made = host.txt2img(sampler_name="Heun", steps=3, seed=9)
        read = host.post("png-info", image=made.body["images"][0]).body
        assert read["info"] == made.infotext
        assert read["parameters"]["Size-1"] == "64"
        assert host.post("txt2img", infotext=made.infotext).equals(made)

    def test_values_with_commas_and_colons_are_quoted(self, host: Host) -> None:
        from modules import infotext_utils

        assert infotext_utils.quote("a: b, c") == '"a: b, c"'
        assert infotext_utils.quote(0.5) == 0.5
        text = 'a cat\nSteps: 4, Sampler: Euler, Plan: "base 1 -> 2, then: 3", Size: 64x64'
        assert infotext_utils.parse_generation_parameters(text)["Plan"] == "base 1 -> 2, then: 3"

    def test_pasted_it_fills_the_fields(self, host: Host) -> None:
        from modules import infotext_utils

        text = "a cat\nSteps: 9, Sampler: Heun, Seed: 5, Size: 96x64"
        params = infotext_utils.parse_generation_parameters(text)
        fields = infotext_utils.paste_fields["txt2img"].fields
        updates = {known.component.elem_id: infotext_utils.update_of(known, params).get("value") for known in fields}
        wanted = {"prompt": "a cat", "steps": 9, "sampling": "Heun", "width": 96, "seed": 5}
        assert {name: updates[f"txt2img_{name}"] for name in wanted} == wanted


class TestPictures:
    def test_inpainting_leaves_the_rest_as_it_was(self, host: Host) -> None:
        start, mask = host.txt2img().images[0], np.zeros((64, 64, 3), np.uint8)
        mask[16:48, 16:48] = 255
        answer = host.img2img(start, mask=png_base64(mask), mask_blur=0, inpainting_fill=1, inpaint_full_res=False)
        changed = np.abs(answer.images[0].astype(int) - start.astype(int))
        assert changed[:16].max() == 0
        assert changed[16:48, 16:48].mean() > 1

    @pytest.mark.parametrize("mode", [0, 1])
    def test_resize_modes(self, host: Host, mode: int) -> None:
        answer = host.img2img(np.full((64, 64, 3), 99, np.uint8), resize_mode=mode, width=96, height=64)
        assert answer.images[0].shape == (64, 96, 3)

    def test_files_have_a_number_and_the_seed_and_may_be_renamed(
        self, host: Host, tmp_path: Path, monkeypatch: Any
    ) -> None:
        from modules import images, script_callbacks, shared

        def save(extension: str = "png", **more: Any) -> str:
            picture = Image.new("RGB", (64, 64), "red")
            return Path(
                images.save_image(picture, str(tmp_path), "", 7, "a cat", extension, "Steps: 4", **more)[0]
            ).name

        assert [save(), save(suffix="-dt"), save("webp")] == ["00000-7.png", "00001-7-dt.png", "00002-7.webp"]
        assert save(forced_filename="mine") == "mine.png"
        for name in ("00000-7.png", "00002-7.webp"):
            assert images.read_info_from_image(Image.open(tmp_path / name))[0] == "Steps: 4"
        monkeypatch.setitem(shared.opts.data, "save_images_replace_action", "Add number suffix")
        assert save(forced_filename="mine") == ("mine-1.png" if FLAVOUR == "forge" else "mine.png")
        assert (tmp_path / "mine-1.png").exists()

        def rename(params: Any) -> None:
            params.filename = params.filename.replace("00003", "renamed")

        monkeypatch.setattr(script_callbacks, "before_image_saved_callback", rename)
        assert save() == "renamed-7.png"


class TestPage:
    def test_it_generates(self, host: Host, main_thread: None) -> None:
        gallery, info, html, log = page_generate(host)
        assert gallery[0].size == (64, 64)
        assert "Steps: 2, Sampler: Euler" in html
        assert "Time taken" in log
        assert json.loads(info)["prompt"] == "a red cat"

    def test_errors_become_a_red_line(self, host: Host, main_thread: None) -> None:
        *others, log = page_generate(host, enable_hr=True, hr_upscaler="nix")
        assert others == [None, "", ""]
        assert "<div class='error'>" in log
        assert "upscaler named nix" in log

    def test_what_a_script_appends_is_shown_and_returned(self, host: Host, on: On, main_thread: None) -> None:
        @on("postprocess")
        def append(p: Any, processed: Any, *_: Any) -> None:
            processed.images.append(Image.new("RGB", (32, 32)))
            processed.infotexts.append("a strip")

        assert [image.shape[:2] for image in host.txt2img(steps=1).images] == [(64, 64), (32, 32)]
        gallery, info, *_ = page_generate(host)
        assert [picture.size for picture in gallery] == [(64, 64), (32, 32)]
        assert json.loads(info)["infotexts"][1] == "a strip"

    @pytest.mark.forge
    def test_forge_shows_what_lies_beside_the_pictures(self, host: Host, on: On) -> None:
        on("process")(lambda p, *_: p.extra_result_images.append(Image.new("RGB", (32, 32))))
        answer = host.txt2img(steps=1)
        assert [image.shape[:2] for image in answer.images] == [(64, 64), (32, 32)]
        assert len(answer.info["infotexts"]) == 1


def test_files_stand_as_users_count_and_spell(host: Host, tmp_path: Path) -> None:
    """Which checkpoint is the first, and so the one that is loaded where none is chosen, depends on it."""
    from modules import shared

    names = ["base.safetensors", "model 2.safetensors", "Model 10.safetensors", "Z.safetensors", "notes.txt"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "Lora").mkdir()
    (tmp_path / "Lora" / "tiny.safetensors").touch()
    found = [Path(file).name for file in shared.walk_files(str(tmp_path), [".safetensors"])]
    assert found == ["base.safetensors", "tiny.safetensors", *names[1:4]]


class TestApi:
    def test_lists_and_settings(self, host: Host) -> None:
        assert {"base", "second", "other"} <= {known["model_name"] for known in host.get("sd-models")}
        recorder = next(known for known in host.get("script-info") if known["name"] == "recorder")
        assert [argument["label"] for argument in recorder["args"]] == ["Recorder", "Number"]
        assert host.post("options", samples_format="png").status == 200
        assert json.loads((host.data / "config.json").read_text())["sd_model_checkpoint"] == "base"
        assert host.get("progress")["state"]["job_count"] == 0

    def test_bad_requests(self, host: Host) -> None:
        assert host.post("options", sd_model_checkpoint="nix").status == 500
        assert host.post("img2img").status == 404
        assert host.post("img2img", init_images=["x"]).body["detail"] == "Invalid encoded image"
        assert host.txt2img(refiner_checkpoint="nix").status == 500

    def test_a_grid_where_files_are_saved(self, host: Host) -> None:
        assert len(host.txt2img(batch_size=2).images) == 2
        saved = host.txt2img(batch_size=2, save_images=True)
        assert len(saved.images) == 3
        assert saved.info["index_of_first_image"] == 1
