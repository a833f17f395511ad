"""What becomes of frames: files, gallery and the API's answer, on either flavour, read back with other means."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import piexif
import piexif.helper
import pytest
import torch
from PIL import Image

from extension_core.errors import DiversityError
from extension_core.options.preview import PreviewOptions
from extension_core.sampling.schedule import NoiseSchedule
from extension_core.trajectory.frame_pictures import Decoder
from extension_core.trajectory.frames import PhaseName, Position, Section, Tag
from extension_core.trajectory.store import Generation, State
from tests.embedded.conftest import FLAVOUR, Answer, Host

On = Callable[[str], Callable[[Callable[..., Any]], Callable[..., Any]]]
SCHEDULE = NoiseSchedule.stable_diffusion()
STEPS = 4


def decode(latent: torch.Tensor) -> Image.Image:
    """The host's own way from a latent to a picture."""
    from modules import devices, processing, shared

    with torch.inference_mode():
        batch = latent[None].float().to(devices.device)
        model: Any = shared.sd_model  # pyright: ignore[reportAttributeAccessIssue]
        [picture] = processing.decode_latent_batch(model, batch, target_device=devices.cpu)
    pixels = ((picture.float() + 1) / 2).clamp(0, 1).permute(1, 2, 0).numpy()
    return Image.fromarray((255.0 * pixels).astype(np.uint8))


class Recording:
    """Records what the sampler uses, step by step, and finishes in the `postprocess` hook as the extension does."""

    def __init__(self, on: On, decoder: Any = None, **asked: Any) -> None:
        self.preview = PreviewOptions.from_mapping({"preview": True, **asked})
        self.decoder = decoder or Decoder("host's VAE", decode)
        self.generations: list[Generation] = []
        self.is_api = True
        self.before_finish: Callable[[Any, Any], None] = lambda p, processed: None
        self.processed: Any = None
        on("process")(self.begin)
        on("cfg_after_cfg")(self.record)
        on("postprocess")(self.finish)

    @property
    def generation(self) -> Generation:
        return self.generations[-1]

    def begin(self, p: Any, *args: Any) -> None:
        from extension_core.hosts.common.preview.recorded import STORE, Recorded

        self.p, self.steps = p, {}
        self.generations.append(STORE.open("", about=Recorded("sd", (), is_api=self.is_api)))

    def record(self, params: Any) -> None:
        hires = bool(getattr(self.p, "is_hr_pass", False))
        section = Section("hires pass" if hires else "first pass", self.p.iteration, self.p.n_iter)
        step = self.steps[section] = self.steps.get(section, -1) + 1
        timestep = 999 * (STEPS - step) / STEPS
        phase: PhaseName = "base" if step == 0 else "distilled"
        tag = Tag(section, Position(step, STEPS, timestep, SCHEDULE.sigma(timestep)), phase, 5.0, f"tiny {phase}")
        self.generation.recorder.add(tag, params.x)

    def finish(self, p: Any, processed: Any, *args: Any) -> None:
        from extension_core.hosts.common.preview.output import finish

        self.generation.finish(State.DONE)
        self.processed = processed
        self.before_finish(p, processed)
        finish(p, processed, self.generation, self.preview, self.decoder)

    def frame(self, number: int, image: int = 0) -> np.ndarray:
        frame = self.generation.recorder.frame(number)
        assert frame is not None
        return np.asarray(decode(frame.latents()[image]))


def written(host: Host, request: Callable[[], Answer]) -> tuple[Answer, list[Path]]:
    """The answer, and the files that there are since."""
    before = set(host.data.rglob("*"))
    answer = request()
    assert answer.status == 200, answer.body
    return answer, sorted(path for path in set(host.data.rglob("*")) - before if path.is_file())


def strips_among(paths: list[Path]) -> list[Path]:
    return [path for path in paths if "-dt" in path.name]


def dt(answer: Answer) -> dict[str, Any]:
    return answer.info["dt"]


def names_of(generation: Generation) -> list[str]:
    from extension_core.hosts.common.preview.recorded import about

    return about(generation).files.names


def comments(processed: Any) -> str:
    return processed.comments


# Files


def test_sheet_and_animation_are_written_beside_the_image(host: Host, on: On) -> None:
    recording = Recording(on, save=True)
    answer, paths = written(host, lambda: host.txt2img(save_images=True, batch_size=2))
    animation, sheet = sorted(strips_among(paths), key=lambda path: path.suffix, reverse=True)
    image = next(path for path in paths if path.suffix == ".png" and path != sheet and "grid" not in path.name)
    assert sheet.parent == image.parent == animation.parent
    assert (sheet.suffix, animation.suffix) == (".png", ".webp")
    assert sheet.stem == animation.stem
    assert sheet.stem.endswith("-dt")
    assert "1" in sheet.stem, "the pattern has the seed"
    assert names_of(recording.generation) == [sheet.name, animation.name]
    assert not list(host.data.rglob("*.tmp"))
    assert len(answer.images) == 3, "two images and their grid"


def test_what_was_written_holds_the_infotext_and_the_frames(host: Host, on: On) -> None:
    Recording(on, save=True)
    answer, paths = written(host, lambda: host.txt2img(save_images=True, prompt="ein Bär, 猫"))
    animation, sheet = sorted(strips_among(paths), key=lambda path: path.suffix, reverse=True)
    with Image.open(sheet) as opened:
        assert opened.format == "PNG"
        assert opened.info["parameters"] == answer.infotext
        assert opened.width > STEPS * 128
    with Image.open(animation) as opened:
        assert opened.format == "WEBP"
        assert getattr(opened, "n_frames", 1) == STEPS
        exif = piexif.load(opened.info["exif"])
        assert piexif.helper.UserComment.load(exif["Exif"][piexif.ExifIFD.UserComment]) == answer.infotext
        starts = []
        for index in range(STEPS):
            opened.seek(index)
            opened.load()
            starts.append(opened.info["timestamp"])
    assert starts == [0, 400, 800, 1200]
    for path in (sheet, animation):
        told = host.post("png-info", image=base64.b64encode(path.read_bytes()).decode()).body
        assert told["info"] == answer.infotext
        assert told["parameters"]["Seed"] == "1"


def test_animations_show_what_the_decoder_makes(host: Host, on: On) -> None:
    recording = Recording(on, save=True)
    _, paths = written(host, lambda: host.txt2img(save_images=True))
    [animation] = [path for path in strips_among(paths) if path.suffix == ".webp"]
    with Image.open(animation) as opened:
        for number in range(STEPS):
            opened.seek(number)
            shown = np.asarray(opened.convert("RGB").resize((64, 64)), float)
            errors = [np.abs(shown - recording.frame(other)).mean() for other in range(STEPS)]
            assert errors[number] < min(errors) + 0.1


def test_hires_and_batches_are_sections_of_their_own(host: Host, on: On) -> None:
    from extension_core.hosts.common.preview.strips import strips_of

    recording = Recording(on, save=True, gallery=True)
    answer, paths = written(
        host,
        lambda: host.txt2img(
            save_images=True,
            enable_hr=True,
            hr_upscaler="Latent",
            hr_scale=1.5,
            denoising_strength=0.9,
            n_iter=2,
            **({"hr_additional_modules": []} if FLAVOUR == "forge" else {}),
        ),
    )
    strips = strips_of(recording.generation, recording.decoder)
    assert [strip.frames[0].tag.section.title for strip in strips.strips] == [
        "first pass, batch 1 of 2",
        "hires pass, batch 1 of 2",
        "first pass, batch 2 of 2",
        "hires pass, batch 2 of 2",
    ]
    assert [strip.pictures.shape[2] for strip in strips.strips] == [64, 96, 64, 96]
    assert len(strips_among(paths)) == 2
    assert dt(answer)["strip"] == len(answer.images) - 1


@pytest.mark.parametrize("setting", ["samples_save", "do_not_save_samples"])
def test_no_strip_is_written_where_the_host_writes_no_images(host: Host, on: On, setting: str) -> None:
    from modules import shared

    recording = Recording(on, save=True)
    if setting == "samples_save":
        shared.opts.data["samples_save"] = False
    answer, paths = written(host, lambda: host.txt2img(save_images=setting == "samples_save"))
    assert not strips_among(paths)
    assert "saves no images of this request" in dt(answer)["missing"]
    assert "saves no images of this request" in comments(recording.processed)


def test_without_pnginfo_nothing_is_embedded(host: Host, on: On) -> None:
    from modules import shared

    Recording(on, save=True, gallery=True, **{"return": True})
    shared.opts.data["enable_pnginfo"] = False
    answer, paths = written(host, lambda: host.txt2img(save_images=True))
    for path in strips_among(paths):
        with Image.open(path) as opened:
            assert "parameters" not in opened.info
            assert "exif" not in opened.info
    for content in answer.body["images"]:
        assert "parameters" not in Image.open(io.BytesIO(base64.b64decode(content))).info


def test_the_button_writes_once_and_tells_the_same_names(host: Host, on: On) -> None:
    from extension_core.hosts.common.preview.output import save_later

    recording = Recording(on)
    answer, paths = written(host, host.txt2img)
    assert not strips_among(paths)
    names = save_later(recording.generation)
    found = [path for path in host.data.rglob("*-dt.*") if path.name in names]
    assert len(names) == len(found) == 2
    assert not any("/" in name for name in names)
    stamps = [path.stat().st_mtime_ns for path in found]
    assert save_later(recording.generation) == names
    assert [path.stat().st_mtime_ns for path in found] == stamps
    with Image.open(next(path for path in found if path.suffix == ".png")) as opened:
        assert opened.info["parameters"] == answer.infotext
    for path in found:
        path.unlink()


def test_what_was_saved_at_the_end_is_not_saved_again(host: Host, on: On) -> None:
    from extension_core.hosts.common.preview.output import save_later

    recording = Recording(on, save=True)
    _, paths = written(host, lambda: host.txt2img(save_images=True))
    before = set(host.data.rglob("*"))
    assert sorted(save_later(recording.generation)) == sorted(path.name for path in strips_among(paths))
    assert set(host.data.rglob("*")) == before


def test_what_runs_or_holds_nothing_cannot_be_saved(host: Host, on: On) -> None:
    from extension_core.hosts.common.preview.output import note_place, save_later
    from extension_core.hosts.common.preview.recorded import STORE, Recorded

    running = STORE.open("", about=Recorded("sd", ()))
    with pytest.raises(DiversityError, match="cannot be saved yet"):
        save_later(running)
    recording = Recording(on)
    host.txt2img()
    note_place(recording.p, running, recording.decoder)
    with pytest.raises(DiversityError, match=r"There is no DT strip to save\. No frame was recorded"):
        save_later(running)


# Gallery


def test_the_page_shows_the_strip_last(host: Host, on: On) -> None:
    recording = Recording(on, gallery=True)
    recording.is_api = False
    host.txt2img(batch_size=2)
    processed = recording.processed
    extra = getattr(processed, "extra_images", None)
    if extra is None:
        assert len(processed.images) == len(processed.infotexts) == 3
        last = processed.images[-1]
    else:
        assert len(processed.images) == len(processed.infotexts) == 2
        [last] = extra
        assert extra is not recording.p.extra_result_images, "the host's list is other requests' too"
    assert last.info["parameters"] == processed.infotexts[processed.index_of_first_image]
    assert "dt" not in json.loads(processed.js()), "a page asks by its key"


def test_hosts_with_a_list_for_extras_get_the_strip_there(host: Host, on: On) -> None:
    shared_by_all: list[Any] = []
    recording = Recording(on, gallery=True)
    recording.is_api = False
    recording.before_finish = lambda p, processed: setattr(processed, "extra_images", shared_by_all)
    host.txt2img()
    assert len(recording.processed.images) == 1
    assert len(recording.processed.extra_images) == 1
    assert shared_by_all == []


def test_a_page_that_shows_no_images_shows_no_strip(host: Host, on: On) -> None:
    from modules import shared

    shared.opts.data["do_not_show_images"] = True
    recording = Recording(on, gallery=True)
    recording.is_api = False
    host.txt2img()
    assert len(recording.processed.images) == 1
    assert not getattr(recording.processed, "extra_images", [])


# The API's answer


def test_frames_are_sent_and_info_says_which_is_which(host: Host, on: On) -> None:
    plain = host.txt2img(batch_size=2)
    recording = Recording(on, **{"return": True})
    answer = host.txt2img(batch_size=2)
    told = dt(answer)
    assert told["id"] == recording.generation.id
    assert told["strip"] is None
    assert told["missing"] == ""
    assert len(answer.images) == len(answer.info["infotexts"]) == 2 + 2 * STEPS
    assert all(np.array_equal(a, b) for a, b in zip(plain.images, answer.images, strict=False))
    assert [(frame["number"], frame["image"]) for frame in told["frames"]] == [
        (number, image) for number in range(STEPS) for image in range(2)
    ]
    for frame in told["frames"]:
        assert np.array_equal(answer.images[frame["index"]], recording.frame(frame["number"], frame["image"]))
        assert answer.info["infotexts"][frame["index"]] == answer.info["infotexts"][frame["image"]]
    for image in range(2):
        last = next(frame for frame in reversed(told["frames"]) if frame["image"] == image)
        difference = answer.images[last["index"]].astype(int) - answer.images[image].astype(int)
        assert np.abs(difference).mean() < 2, "the last frame is the image, but for half precision"
    assert told["frames"][0] | {"index": 0} == {
        "index": 0,
        "number": 0,
        "image": 0,
        "section": "first pass",
        "pass": "first pass",
        "batch": 0,
        "step": 0,
        "steps": STEPS,
        "timestep": 999.0,
        "sigma": told["frames"][0]["sigma"],
        "phase": "base",
        "cfg": 5.0,
        "model": "tiny base",
        "images": 2,
        "kinds": ["guided"],
        "switched": False,
    }


def test_a_grid_stays_the_first(host: Host, on: On) -> None:
    Recording(on, gallery=True, frames=[-1], **{"return": True})
    answer = host.txt2img(batch_size=2, save_images=True)
    told = dt(answer)
    assert answer.info["index_of_first_image"] == 1
    assert [frame["index"] for frame in told["frames"]] == [3, 4]
    assert told["strip"] == 5
    assert len(answer.info["infotexts"]) == 6
    assert answer.info["infotexts"][4] == answer.info["infotexts"][2]


@pytest.mark.parametrize(
    ("wanted", "numbers", "missing"),
    [
        ("all", [0, 1, 2, 3], ""),
        ([2], [2], ""),
        ([-1, 0, -4, 0], [3, 0], ""),
        ([10**9], [], "There is no frame 1000000000; there are numbers 0 to 3 (4 in all)."),
        ([1, -5, 4, 5, 6, 7, 8], [1], "There is no frame -5, 4, 5, 6, 7 and more; there are"),
        ([10**60], [], "There is no frame with more than twelve digits"),
    ],
)
def test_frames_by_number(host: Host, on: On, wanted: Any, numbers: list[int], missing: str) -> None:
    Recording(on, frames=wanted, **{"return": True})
    answer = host.txt2img()
    assert answer.status == 200
    assert [frame["number"] for frame in dt(answer)["frames"]] == numbers
    assert dt(answer)["missing"].startswith(missing)
    assert len(answer.images) == 1 + len(numbers)


def test_more_frames_than_memory_allows_are_smaller(host: Host, on: On, monkeypatch: pytest.MonkeyPatch) -> None:
    from extension_core.hosts.common.preview import response_images as subject

    monkeypatch.setattr(subject, "FRAMES_NBYTES", STEPS * 128 * 128 * 3)
    Recording(on, **{"return": True})
    answer = host.txt2img(width=256, height=192)
    assert [picture.shape for picture in answer.images] == [(192, 256, 3)] + [(96, 128, 3)] * STEPS
    assert dt(answer)["missing"].startswith("The frames are sent at 128 pixels, as 4 of 256 take more than")
    monkeypatch.setattr(subject, "_MOST_PICTURES", 3)
    answer = host.txt2img()
    assert [frame["number"] for frame in dt(answer)["frames"]] == [1, 2, 3]
    assert dt(answer)["missing"] == "The oldest 1 of 4 pictures of frames are not sent."


def test_what_nobody_thought_of_costs_no_image(host: Host, on: On, monkeypatch: pytest.MonkeyPatch) -> None:
    from extension_core.hosts.common.preview import response_images as subject
    from extension_core.hosts.common.preview import strip_files

    def unforeseen(*args: Any) -> Any:
        raise KeyError("unforeseen")

    monkeypatch.setattr(subject, "chosen", unforeseen)
    monkeypatch.setattr(strip_files, "sheet_of", unforeseen)
    recording = Recording(on, save=True, gallery=True, **{"return": True})
    answer = unchanged(host, recording, "The frames could not be sent (the log says what went wrong)", save_images=True)
    assert "The DT strip could not be sent (the log says what went wrong)" in dt(answer)["missing"]
    assert "The DT strip could not be saved (the log says what went wrong)" in dt(answer)["missing"]
    monkeypatch.setattr(strip_files, "place_of", unforeseen)
    monkeypatch.setattr(subject, "tell", unforeseen)
    answer = host.txt2img()
    assert (answer.status, len(answer.images)) == (200, 1)
    assert "dt" not in answer.info


def test_an_empty_list_is_the_strip_alone(host: Host, on: On) -> None:
    Recording(on, frames=[], **{"return": True})
    answer = host.txt2img()
    assert dt(answer)["frames"] == []
    assert dt(answer)["strip"] == 1
    assert answer.images[1].shape[1] > STEPS * 128


def test_recording_alone_tells_the_id(host: Host, on: On) -> None:
    recording = Recording(on)
    answer = host.txt2img()
    assert len(answer.images) == 1
    assert dt(answer) == {"id": recording.generation.id, "frames": [], "strip": None, "missing": ""}


@pytest.mark.parametrize(("form", "magic"), [("jpg", b"\xff\xd8"), ("webp", b"RIFF"), ("png", b"\x89PNG")])
def test_frames_come_in_the_hosts_format(host: Host, on: On, form: str, magic: bytes) -> None:
    from modules import shared

    shared.opts.data["samples_format"] = form
    Recording(on, gallery=True, save=True, **{"return": True})
    answer, paths = written(host, lambda: host.txt2img(save_images=True))
    assert len(answer.images) == 1 + STEPS + 1
    assert all(base64.b64decode(content).startswith(magic) for content in answer.body["images"])
    assert {path.suffix for path in strips_among(paths)} == {".png", ".webp"}


def test_images_that_are_not_sent_are_no_trouble(host: Host, on: On) -> None:
    Recording(on, **{"return": True})
    answer = host.txt2img(send_images=False)
    assert answer.body["images"] == []
    assert len(dt(answer)["frames"]) == STEPS


def test_a_script_that_makes_its_answer_of_a_copy_gets_a_true_one(host: Host, on: On) -> None:
    """As X/Y/Z does: a copy of the first cell's, with one image of each cell."""
    import copy

    recording = Recording(on, **{"return": True})
    host.txt2img()
    cell = copy.copy(recording.processed)
    cell.images, cell.infotexts, cell.all_seeds = [cell.images[0]], ["another"], [7]
    info = json.loads(cell.js())
    assert info["infotexts"] == ["another"]
    assert {frame["index"] for frame in info["dt"]["frames"]} == {None}
    from modules import processing

    assert isinstance(cell, processing.Processed)


def test_images_that_come_later_do_not_shift_what_info_says(host: Host, on: On) -> None:
    recording = Recording(on, frames=[0], **{"return": True})

    def add_another(p: Any, processed: Any, *args: Any) -> None:
        recording.finish(p, processed)
        processed.images.insert(0, Image.new("RGB", (64, 64)))
        processed.infotexts.insert(0, "another's")

    on("postprocess")(add_another)
    answer = host.txt2img()
    [frame] = dt(answer)["frames"]
    assert frame["index"] == 2
    assert np.array_equal(answer.images[2], recording.frame(0))


def test_masks_among_the_images_keep_infotexts_in_step(host: Host, on: On) -> None:
    from modules import shared

    shared.opts.data["return_mask"] = True
    start = host.txt2img().images[0]
    mask = np.zeros((64, 64, 3), np.uint8)
    mask[16:48, 16:48] = 255
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    Recording(on, frames=[0], **{"return": True})
    answer = host.img2img(start, mask=base64.b64encode(buffer.getvalue()).decode(), inpaint_full_res=False)
    [frame] = dt(answer)["frames"]
    assert frame["index"] == len(answer.images) - 1 == len(answer.info["infotexts"]) - 1
    assert frame["index"] >= 1


# Faults


def failing(*args: Any) -> Image.Image:
    raise RuntimeError("CUDA out of memory. Tried to allocate")


def unchanged(host: Host, recording: Recording, words: str, **request: Any) -> Answer:
    """The images are as without a recording, and the user is told."""
    answer = host.txt2img(**request)
    assert answer.status == 200
    assert words in comments(recording.processed) + dt(answer)["missing"]
    actions = dict(host.recorder.actions)
    host.recorder.actions.clear()
    plain = host.txt2img(**request)
    host.recorder.actions.update(actions)
    assert np.array_equal(plain.images[0], answer.images[0])
    return answer


def test_a_decoder_that_fails_costs_the_strip_alone(host: Host, on: On) -> None:
    recording = Recording(on, Decoder("broken", failing), save=True, gallery=True, **{"return": True})
    answer = unchanged(host, recording, "broken could not decode frame 0", save_images=True)
    assert dt(answer)["frames"] == []
    assert dt(answer)["strip"] is None
    assert not names_of(recording.generation)


def test_a_decoder_that_fails_later_costs_the_rest(host: Host, on: On) -> None:
    calls: list[int] = []

    def thrice(latent: torch.Tensor) -> Image.Image:
        calls.append(1)
        return decode(latent) if len(calls) <= 3 else failing()

    recording = Recording(on, Decoder("tired", thrice), gallery=True)
    answer = host.txt2img()
    assert dt(answer)["strip"] == 1
    assert "1 of 4 frames are not shown: tired could not decode frame 3" in dt(answer)["missing"]
    assert recording.generation.state is State.DONE


@pytest.mark.parametrize("function", ["save_image", "replace", "write_bytes"])
def test_a_full_disk_costs_the_files_alone(host: Host, on: On, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    from modules import images

    from extension_core.hosts.common.preview.output import save_later

    save_image = images.save_image

    def full(*args: Any, **kwargs: Any) -> Any:
        if function == "save_image" and kwargs.get("suffix") != "-dt":
            return save_image(*args, **kwargs)
        raise OSError(28, "No space left on device", "/home/somebody/outputs")

    monkeypatch.setattr(images if function == "save_image" else Path, function, full)
    recording = Recording(on, save=True, gallery=True)
    answer, _ = written(host, lambda: unchanged(host, recording, "No space left on device", save_images=True))
    assert "/home/somebody" not in dt(answer)["missing"], "folders are nobody's business"
    assert dt(answer)["strip"] is not None
    assert not list(host.data.rglob("*.tmp"))
    monkeypatch.undo()
    assert len(save_later(recording.generation)) == 2, "the button tries again what failed"


def test_a_read_only_folder_costs_the_files_alone(host: Host, on: On, tmp_path: Path) -> None:
    """A file where the folder should be: root writes to read-only folders."""
    recording = Recording(on, save=True)
    (tmp_path / "closed").write_text("")
    recording.before_finish = lambda p, processed: setattr(p, "outpath_samples", str(tmp_path / "closed" / "in"))
    unchanged(host, recording, "The DT strip could not be written (", save_images=True)
    assert list(tmp_path.iterdir()) == [tmp_path / "closed"]


@pytest.mark.parametrize("kind", ["before_image_saved", "image_saved"])
def test_a_callback_that_raises_costs_nothing(host: Host, on: On, kind: str) -> None:
    from modules import script_callbacks

    def raising(params: Any) -> None:
        raise RuntimeError("raised on purpose")

    getattr(script_callbacks, f"on_{kind}")(raising)
    try:
        recording = Recording(on, save=True)
        answer, paths = written(host, lambda: host.txt2img(save_images=True))
    finally:
        script_callbacks.remove_callbacks_for_function(raising)
    assert len(answer.images) == 1
    assert recording.generation.state is State.DONE
    assert len(strips_among(paths)) == 2 or "could not be written" in dt(answer)["missing"]


def test_a_callback_may_name_the_file_otherwise(host: Host, on: On, tmp_path: Path) -> None:
    from modules import script_callbacks

    def elsewhere(params: Any) -> None:
        if "-dt" in params.filename:
            params.filename = str(tmp_path / "renamed.png")

    script_callbacks.on_before_image_saved(elsewhere)
    try:
        recording = Recording(on, save=True)
        host.txt2img(save_images=True)
    finally:
        script_callbacks.remove_callbacks_for_function(elsewhere)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["renamed.png", "renamed.webp"]
    assert names_of(recording.generation) == ["renamed.png", "renamed.webp"]


def test_interrupted_before_the_first_frame(host: Host, on: On) -> None:
    recording = Recording(on, save=True, gallery=True, **{"return": True})
    on("cfg_after_cfg")(lambda params: None)
    answer = host.txt2img(save_images=True)
    assert answer.status == 200
    assert len(answer.images) == 1
    assert dt(answer)["strip"] is None
    assert "No frame was recorded." in dt(answer)["missing"]
    assert "No frame was recorded." in comments(recording.processed)


def test_numbers_after_the_files_that_there_are(
    host: Host, on: On, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pattern without a number, and a host that returns the name it wanted (A1111 1.10.1)."""
    from modules import images, shared

    from extension_core.hosts.common.preview.output import save_later

    def as_a1111(image: Image.Image, path: str, *args: Any, **kwargs: Any) -> tuple[str, None]:
        wanted, number = tmp_path / "name-dt.png", 0
        target = wanted
        while target.exists():
            number += 1
            target = wanted.with_name(f"{wanted.stem}-{number}.png")
        image.save(target)
        return str(wanted), None

    recording = Recording(on)
    host.txt2img()
    monkeypatch.setattr(images, "save_image", as_a1111)
    monkeypatch.setitem(shared.opts.data, "save_images_replace_action", "Add number suffix")
    monkeypatch.setattr(type(shared.opts), "save_images_replace_action", "Add number suffix", raising=False)
    assert save_later(recording.generation) == ["name-dt.png", "name-dt.webp"]
    again: Any = SimpleNamespace(**vars(recording.generation))
    again.about = dataclasses.replace(recording.generation.about, files=type(recording.generation.about.files)())
    from extension_core.hosts.common.preview import output

    monkeypatch.setattr(output, "about", lambda generation: generation.about)
    again.update = recording.generation.update
    assert save_later(again) == ["name-dt-1.png", "name-dt-1.webp"]
