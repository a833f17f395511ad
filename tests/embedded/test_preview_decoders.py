"""Pictures of latents: the VAE bit for bit, small decoders close to it, nothing downloaded, faults fall back."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from embedded.distill.data import to_float
from embedded.distill.export import EMBEDDED_PAIR
from embedded.monsters import make_dataset
from embedded.networks import load_checkpoint
from embedded.networks.previews import taesd_decoder
from tests.embedded.conftest import FLAVOUR, Host
from tests.embedded.previews import host_decoding, load_model, open_recording
from tests.unit.trajectory import Clock


@pytest.fixture(scope="module")
def decoding(session_host: Host) -> Any:
    load_model(session_host)
    return host_decoding()


@pytest.fixture(autouse=True)
def store() -> Iterator[None]:
    """What tests leave running would push others' recordings out."""
    yield
    from extension_core.hosts.common.preview.recorded import STORE

    STORE._entries.clear()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def decoders(host: Host, decoding: Any, clock: Clock) -> Any:
    from extension_core.hosts.common.preview.decoders import DECODERS, Decoders

    load_model(host)
    DECODERS.use(decoding)
    ours = Decoders(clock)
    ours.use(decoding)
    return ours


@pytest.fixture
def taesd_file(session_host: Host) -> Iterator[Path]:
    path = session_host.data / "models" / "VAE-taesd" / "taesd_decoder.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(EMBEDDED_PAIR / "VAE-taesd" / path.name, path)
    yield path
    path.unlink(missing_ok=True)


def latent(seed: int = 0) -> torch.Tensor:
    return torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(seed)).half()


def as_the_host_shows(pixels: torch.Tensor) -> np.ndarray:
    """modules/processing.py of both hosts."""
    scaled = torch.clamp((pixels.float() + 1.0) / 2.0, min=0.0, max=1.0)
    return (255.0 * np.moveaxis(scaled.cpu().numpy(), 0, 2)).astype(np.uint8)


class TestFull:
    def test_it_is_the_hosts_own_decode_bit_for_bit(self, decoders: Any) -> None:
        from modules import devices, processing, shared

        generation = open_recording()
        frame = generation.recorder.frame(1)
        mine = decoders.full(generation.about)(frame.latents("guided")[1])
        with torch.no_grad():
            batch = frame.latents("guided")[1:2].float().to(devices.device)
            own = processing.decode_latent_batch(shared.sd_model, batch, devices.cpu, check_for_nans=True)[0]
        assert mine.size == (64, 64)
        assert np.array_equal(np.asarray(mine), as_the_host_shows(own))

    def test_the_last_latent_of_a_generation_is_its_image(self, host: Host, decoders: Any, on: Any) -> None:
        """But for the half precision in which latents are kept: at most one level."""
        kept: list[torch.Tensor] = []

        @on("post_sample")
        def keep(_p: Any, ps: Any, *_args: Any) -> None:
            kept.append(ps.samples.detach().clone())

        image = host.txt2img(steps=3).images[0]
        assert kept
        generation = open_recording(frames=1, latents=[kept[0]])
        mine = decoders.full(generation.about)(generation.recorder.frame(0).latents()[0])
        assert np.abs(np.asarray(mine).astype(int) - image).max() <= 1

    def test_frames_of_another_checkpoint_are_refused(self, decoders: Any) -> None:
        from extension_core.hosts.common.preview.decoders import VaeChanged

        generation = open_recording(vae=("another.safetensors", "/x/another.safetensors", ""))
        with pytest.raises(VaeChanged, match=r"made with 'another.safetensors' but the host has 'base"):
            decoders.full(generation.about)

    @pytest.mark.a1111
    def test_another_vae_file_is_another_vae(self, decoders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        from modules import sd_vae

        generation = open_recording()
        monkeypatch.setattr(sd_vae, "loaded_vae_file", "/models/VAE/other.safetensors")
        with pytest.raises(Exception, match="perhaps with another VAE"):
            decoders.full(generation.about)

    def test_without_a_checkpoint_nothing_is_loaded(self, decoders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        from modules import sd_models

        generation = open_recording()
        monkeypatch.setattr(sd_models.model_data, "sd_model", None)
        assert decoders.latent_kind() == ""
        assert decoders.vae_in_use() == ()
        with pytest.raises(Exception, match="has no checkpoint loaded"):
            decoders.full(generation.about)
        assert sd_models.model_data.sd_model is None

    def test_a_host_that_would_approximate_is_not_asked(
        self, host: Host, decoders: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from modules import shared

        generation = open_recording()
        shared.opts.data["live_preview_fast_interrupt"] = True
        monkeypatch.setattr(shared.state, "interrupted", True)
        with pytest.raises(Exception, match="untick that"):
            decoders.full(generation.about)


class TestSmall:
    def test_approximate_colours_are_the_hosts(self, decoders: Any) -> None:
        from modules import sd_vae_approx

        decoder, note = decoders.live("sd", "approximate")
        picture = np.asarray(decoder(latent()))
        own = as_the_host_shows(sd_vae_approx.cheap_approximation(latent()[None].float())[0])
        assert (decoder.name, note) == ("approximate colours", "")
        assert np.abs(picture.astype(int) - own).max() <= 1

    def test_colours_outlive_their_checkpoint(self, decoders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        from modules import sd_models

        assert decoders.latent_kind() == "sd"
        decoder, _ = decoders.live("sd", "approximate")
        before = np.asarray(decoder(latent()))
        monkeypatch.setattr(sd_models.model_data, "sd_model", None)
        assert np.array_equal(before, np.asarray(decoder(latent())))
        assert sd_models.model_data.sd_model is None

    def test_colours_that_nobody_has_seen_are_a_sentence(self, decoders: Any) -> None:
        decoder, _ = decoders.live("flux", "approximate")
        with pytest.raises(Exception, match="no colours of latents"):
            decoder(latent())

    def test_without_the_file_taesd_is_not_fetched(
        self, decoders: Any, session_host: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fetched(*_args: Any, **_more: Any) -> None:
            raise AssertionError("something was downloaded")

        monkeypatch.setattr(torch.hub, "download_url_to_file", fetched)
        for wanted in ("auto", "taesd", "full"):
            decoder, note = decoders.live("sd", wanted)
            assert decoder.name == "approximate colours"
            assert "taesd_decoder.pth" in note
        assert not (session_host.data / "models" / "VAE-taesd" / "taesd_decoder.pth").exists()

    def test_with_the_file_it_is_the_hosts_network(self, decoders: Any, taesd_file: Path) -> None:
        from modules import sd_vae_taesd

        decoder, note = decoders.live("sd", "auto")
        own = sd_vae_taesd.decoder_model()(latent()[None].float())[0].detach() * 2 - 1
        assert (decoder.name, note) == ("TAESD", "")
        assert np.array_equal(np.asarray(decoder(latent())), as_the_host_shows(own))

    def test_full_is_for_full_size(self, decoders: Any, taesd_file: Path) -> None:
        decoder, note = decoders.live("sd", "full")
        assert decoder.name == "TAESD"
        assert "full size alone" in note

    def test_one_object_a_decoder_so_that_pictures_are_made_once(self, decoders: Any, taesd_file: Path) -> None:
        assert decoders.live("sd", "auto")[0] is decoders.live("sd", "taesd")[0]
        assert decoders.live("sd", "approximate")[0] is decoders.live("sd", "approximate")[0]

    def test_a_file_of_real_width_is_read_too(self, decoders: Any, taesd_file: Path) -> None:
        torch.save(taesd_decoder(width=64).state_dict(), taesd_file)
        assert decoders.live("sd", "auto")[0](latent()).size == (64, 64)

    def test_a_recording_of_unknown_kind_is_of_the_loaded_one(self, decoders: Any, taesd_file: Path) -> None:
        assert decoders.live("", "auto")[0].name == "TAESD"

    def test_other_kinds_have_other_files(self, decoders: Any, taesd_file: Path) -> None:
        assert "taesdxl_decoder.pth" in decoders.live("sdxl", "auto")[1]
        assert "taef1_decoder.pth" in decoders.live("flux", "auto")[1]

    def test_no_gradients(self, decoders: Any, taesd_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from extension_core.hosts.common.preview import decoders as module

        seen: list[torch.Tensor] = []
        image = module._image
        monkeypatch.setattr(module, "_image", lambda pixels: (seen.append(pixels), image(pixels))[1])
        with torch.inference_mode():
            recorded_on_forge = latent()
        for wanted in ("auto", "approximate"):
            decoders.live("sd", wanted)[0](recorded_on_forge)
        assert not any(pixels.requires_grad for pixels in seen)
        assert seen[0].is_inference() == (FLAVOUR == "forge")


class TestFaults:
    def test_a_truncated_file_falls_back_with_a_note(self, decoders: Any, taesd_file: Path, clock: Clock) -> None:
        from extension_core.trajectory.frame_pictures import View

        taesd_file.write_bytes(taesd_file.read_bytes()[:1000])
        generation = open_recording()
        picture = decoders.picture(generation, generation.recorder.frame(0), View(0))
        assert picture.opened().size == (8, 8)
        decoder, note = decoders.live("sd", "auto")
        assert decoder.name == "approximate colours"
        assert note.startswith(
            f"TAESD failed (models/VAE-taesd/{taesd_file.name} is damaged or made for another model; "
        )
        shutil.copy(EMBEDDED_PAIR / "VAE-taesd" / taesd_file.name, taesd_file)
        clock.now += 3
        assert decoders.live("sd", "auto")[0].name == "TAESD"
        later = open_recording()
        assert decoders.picture(later, later.recorder.frame(0), View(1)).opened().size == (64, 64)

    def test_out_of_memory_in_ram(
        self, decoders: Any, taesd_file: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        from extension_core.trajectory.frame_pictures import View

        def no_memory(_path: str) -> Any:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

        generation = open_recording()
        with monkeypatch.context() as patch:
            patch.setattr(type(decoders.decoding), "taesd", lambda _self, path: no_memory(path))
            assert decoders.picture(generation, generation.recorder.frame(0), View(0)).opened().size == (8, 8)
        assert decoders.live("sd", "auto")[1].startswith("TAESD failed (memory ran out), so colours are")
        clock.now += 31
        assert decoders.live("sd", "auto")[1] == ""
        later = open_recording()
        assert decoders.picture(later, later.recorder.frame(0), View(1)).opened().size == (64, 64)

    def test_out_of_memory_on_the_card_goes_on_in_ram(
        self, decoders: Any, taesd_file: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        from extension_core.hosts.common.preview.decoders import Taesd

        tried: list[str] = []

        def beside(_self: Any, _latent: Any, device: Any, _dtype: Any) -> Any:
            tried.append(str(device))
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

        kind = type(decoders.decoding)
        monkeypatch.setattr(Taesd, "_beside", beside)
        monkeypatch.setattr(kind, "device", lambda _self: (torch.device("cuda:0"), torch.float16))
        decoder, _ = decoders.live("sd", "auto")
        assert decoder(latent()).size == (64, 64)
        decoder, note = decoders.live("sd", "auto")
        assert decoder.name == "TAESD"
        assert note == "Memory ran out on cuda:0; TAESD decodes on the CPU for a while."
        decoder(latent())
        assert tried == ["cuda:0"]
        clock.now += 31
        monkeypatch.setattr(kind, "beside_sampling", lambda _self: False)
        decoder(latent())
        assert tried == ["cuda:0"]

    def test_on_a_stream_of_its_own_the_picture_is_the_same(
        self, decoders: Any, taesd_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """torch's CPU has stand-ins for streams."""
        from extension_core.hosts.common.preview import decoders as module

        monkeypatch.setattr(module, "_WITH_STREAMS", ("cpu",))
        monkeypatch.setattr(torch.cpu, "Stream", lambda _device: object(), raising=False)
        taesd = module.Taesd(decoders.decoding, str(taesd_file), Clock())
        beside = [np.asarray(taesd(latent())) for _ in range(2)]
        assert taesd._on_device is not None
        monkeypatch.setattr(module, "_WITH_STREAMS", ())
        assert all(np.array_equal(picture, np.asarray(taesd(latent()))) for picture in beside)

    def test_the_card_is_left_alone_where_it_is_nearly_full(self) -> None:
        from extension_core.hosts.common.preview.decoders import _check_room

        def backend(free: int) -> Any:
            return SimpleNamespace(mem_get_info=lambda _device: (free, 2**34))

        big = torch.zeros(4, 128, 128)
        _check_room(backend(2**33), torch.device("cuda"), big)
        with pytest.raises(MemoryError, match="out of memory"):
            _check_room(backend(2**30), torch.device("cuda"), big)

    def test_the_host_forbids_parallel_work(self, decoders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        from modules import shared

        assert decoders.decoding.beside_sampling()
        monkeypatch.setattr(shared, "parallel_processing_allowed", False)
        assert not decoders.decoding.beside_sampling()

    @pytest.mark.forge
    @pytest.mark.skipif(FLAVOUR != "forge", reason="only Forge has these states")
    @pytest.mark.parametrize("state", ["LOW_VRAM", "NO_VRAM"])
    def test_forge_moves_models(self, decoders: Any, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
        from backend import memory_management

        monkeypatch.setattr(memory_management, "vram_state", memory_management.VRAMState[state])
        assert not decoders.decoding.beside_sampling()


class TestTheHostsOwnPreviews:
    """The embedded WebUI's, which are as the hosts'."""

    @pytest.mark.parametrize(("kind", "size"), [("Approx cheap", 8), ("Approx NN", 16), ("TAESD", 64)])
    def test_the_choice_is_respected(self, host: Host, decoders: Any, taesd_file: Path, kind: str, size: int) -> None:
        from modules import sd_samplers_common, shared

        shared.opts.data["show_progress_type"] = kind
        picture = sd_samplers_common.single_sample_to_image(latent().float())
        assert picture.size == (size, size)

    def test_full_previews(self, host: Host, decoders: Any) -> None:
        from modules import sd_samplers_common, shared

        shared.opts.data["show_progress_type"] = "Full"
        size = 64 if FLAVOUR == "a1111" else 16
        assert sd_samplers_common.single_sample_to_image(latent().float()).size == (size, size)

    def test_a_missing_file_is_told_loudly(self, host: Host, decoders: Any) -> None:
        from modules import sd_vae_taesd

        sd_vae_taesd.sd_vae_taesd_models.clear()
        with pytest.raises(RuntimeError, match=r"would now download .*taesd_decoder.pth"):
            sd_vae_taesd.decoder_model()

    def test_half_precision_colours_are_the_callers_fault(self, host: Host, decoders: Any) -> None:
        from modules import sd_vae_approx

        with pytest.raises(RuntimeError):
            sd_vae_approx.cheap_approximation(latent()[None])


class TestThePair:
    """How close the pair's small decoders are to its VAE, in 8-bit levels; pair/previews.json says it too."""

    @pytest.fixture(scope="class")
    def pictures(self) -> tuple[torch.Tensor, torch.Tensor]:
        model = load_checkpoint(EMBEDDED_PAIR / "monsters_base.safetensors")
        images, _, _ = make_dataset(8, 4321)
        with torch.no_grad():
            latents = model.encode_image(to_float(images))
            return latents, model.decode_latent(latents)

    def distance(self, made: np.ndarray, decoded: torch.Tensor) -> float:
        factor = decoded.shape[-1] // made.shape[1]
        target = torch.nn.functional.avg_pool2d(decoded.clamp(-1, 1), factor)
        return float(np.abs(made.astype(float) - np.stack([as_the_host_shows(x) for x in target])).mean())

    def test_taesd(self, decoders: Any, taesd_file: Path, pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
        decoder, _ = decoders.live("sd", "taesd")
        made = np.stack([np.asarray(decoder(x.half())) for x in pictures[0]])
        assert self.distance(made, pictures[1]) < 10

    def test_colours(self, decoders: Any, pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
        decoder, _ = decoders.live("sd", "approximate")
        made = np.stack([np.asarray(decoder(x.half())) for x in pictures[0]])
        assert self.distance(made, pictures[1]) < 36

    def test_its_size(self) -> None:
        folder = EMBEDDED_PAIR / "VAE-taesd"
        assert sum(path.stat().st_size for path in folder.iterdir()) < 1.5e6
        assert [path.name for path in folder.iterdir()] == ["taesd_decoder.pth"]

    def test_the_colours_are_the_fitted_ones(self, session_host: Host) -> None:
        import json

        from modules import sd_vae_approx

        report = json.loads((EMBEDDED_PAIR / "previews.json").read_text())
        assert report["colours"] == sd_vae_approx.PAIR
        assert sd_vae_approx.of_width(128) == sd_vae_approx.STABLE_DIFFUSION


def test_pictures_of_frames_are_small_files(decoders: Any, taesd_file: Path) -> None:
    from extension_core.trajectory.frame_pictures import View

    generation = open_recording()
    picture = decoders.picture(generation, generation.recorder.frame(0), View(0, form="webp"))
    assert Image.open(io.BytesIO(picture.content)).format == "WEBP"
