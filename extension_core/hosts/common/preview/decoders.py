"""From latents to pictures: the host's TAESD if it has the file, its approximate colours otherwise, its VAE on demand.

Nothing is downloaded, no checkpoint is loaded, and whatever fails falls back to what cannot fail, with a note.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from modules import paths, shared
from PIL import Image

from extension_core.errors import DiversityError, reason
from extension_core.hosts.common.preview.recorded import Recorded, about
from extension_core.hosts.protocols import Decoding
from extension_core.trajectory.frame_pictures import Decoder, DecodingFailed, Picture, View
from extension_core.trajectory.recorder import MIB, Frame
from extension_core.trajectory.store import Generation
from extension_core.weights.out_of_memory import MAY_BE, is_out_of_memory

_LOG = logging.getLogger("diversity_distillation")
TAESD, APPROXIMATE, FULL = "TAESD", "approximate colours", "full VAE"

# Names under models/VAE-taesd (A1111 1.10.1 and Forge dfdcbab6, modules/sd_vae_taesd.py), and channels of latents.
_FILES = {"sd": "taesd", "sdxl": "taesdxl", "sd3": "taesd3", "flux": "taef1"}
_CHANNELS = {"sd": 4, "sdxl": 4, "sd3": 16, "flux": 16}
# Backends with streams of their own, on which a thread's work runs beside the sampler's.
_WITH_STREAMS = ("cuda", "xpu")
_REST_SECONDS = 30.0
_LOOK_SECONDS = 2.0
_SPARE_BYTES = 512 * MIB


class VaeChanged(DiversityError):
    """The host decodes with another VAE than the one that the frame was made for."""


@dataclass
class _Rest:
    """Something failed and is left alone for a while."""

    clock: Callable[[], float]
    until: float = -1.0
    why: str = ""

    def begin(self, why: str) -> None:
        self.until, self.why = self.clock() + _REST_SECONDS, why

    @property
    def note(self) -> str:
        """Why it rests, "" if it does not."""
        return self.why if self.clock() < self.until else ""


class Taesd:
    """The decoder of one kind of latents; its own copy, so that nothing of the host's is used by two threads.

    Computes where the host does, on a stream of its own, where that does not come into the sampler's way; else, and
    when memory runs out there, on the CPU.
    """

    def __init__(self, decoding: Decoding, path: str, clock: Callable[[], float]) -> None:
        self._decoding = decoding
        self._path = path
        self._in_ram: torch.nn.Module | None = None
        self._on_device: tuple[Any, torch.nn.Module, Any] | None = None
        self.rest = _Rest(clock)

    def __call__(self, latent: torch.Tensor) -> Image.Image:
        with self._decoding.without_gradients():
            device, dtype = self._decoding.device()
            if device.type in _WITH_STREAMS and self._decoding.beside_sampling() and not self.rest.note:
                try:
                    return self._beside(latent, device, dtype)
                except MAY_BE as error:
                    if not is_out_of_memory(error):
                        raise
                    self._on_device = None
                    self.rest.begin(f"Memory ran out on {device}; TAESD decodes on the CPU for a while.")
            return _image(self._cpu()(latent[None].float())[0] * 2 - 1)

    def _cpu(self) -> torch.nn.Module:
        if self._in_ram is None:
            self._in_ram = self._read().eval().requires_grad_(False).to("cpu", torch.float32)
        return self._in_ram

    def _read(self) -> torch.nn.Module:
        try:
            return self._decoding.taesd(self._path)
        except Exception as error:
            if is_out_of_memory(error) or isinstance(error, MemoryError):
                raise
            _LOG.warning("%s cannot be read", self._path, exc_info=error)
            name = os.path.basename(self._path)  # noqa: PTH119 - a str of the host's
            raise DiversityError(
                f"models/VAE-taesd/{name} is damaged or made for another model; put the right file in its place"
            ) from error

    def _beside(self, latent: torch.Tensor, device: torch.device, dtype: torch.dtype) -> Image.Image:
        """On the device; what is awaited at the end is this stream's work alone."""
        backend: Any = getattr(torch, device.type)
        _check_room(backend, device, latent)
        where = (device, dtype)
        if self._on_device is None or self._on_device[0] != where:
            stream = backend.Stream(device)
            with backend.stream(stream):
                self._on_device = (where, copy.deepcopy(self._cpu()).to(device, dtype), stream)
        _, network, stream = self._on_device
        with backend.stream(stream):
            return _image(network(latent[None].to(device, dtype))[0].float().cpu() * 2 - 1)


def _check_room(backend: Any, device: torch.device, latent: torch.Tensor) -> None:
    """Leave to the sampler what it may need: OutOfMemoryError where less than half would stay free."""
    free, _ = backend.mem_get_info(device) if hasattr(backend, "mem_get_info") else (2**62, 0)
    pixels = 64 * latent.shape[-1] * latent.shape[-2]
    needed = 64 * 4 * 2 * pixels  # about four layers of 64 channels in half precision at full size
    if free < 2 * needed + _SPARE_BYTES:
        raise MemoryError(f"out of memory: {free // MIB} MiB are free")


class Decoders:
    """The decoders of the host at hand; `use` says which host that is."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._decoding: Decoding | None = None
        self._colours: dict[str, torch.Tensor] = {}
        self._taesds: dict[tuple[str, float, int], tuple[Taesd, Decoder]] = {}
        self._approximate: dict[str, Decoder] = {}
        self._looked: dict[str, tuple[float, tuple[str, float, int] | None]] = {}
        self._rest = _Rest(clock)

    def use(self, decoding: Decoding) -> None:
        """From now on this host's; what was learnt of another is forgotten."""
        with self._lock:
            if type(decoding) is not type(self._decoding):
                self._colours.clear()
                self._taesds.clear()
            self._decoding = decoding

    @property
    def decoding(self) -> Decoding:
        """The host's part."""
        assert self._decoding is not None, "Decoders.use was not called"
        return self._decoding

    def latent_kind(self) -> str:
        """Kind of the loaded model's latents, "" if none is loaded; its colours are kept for when another is."""
        kind = self.decoding.latent_kind()
        if kind:
            self._learn_colours(kind)
        return kind

    def vae_in_use(self) -> tuple[str, ...]:
        """What the host decodes with now; () if no checkpoint is loaded."""
        return self.decoding.vae_in_use()

    def live(self, kind: str, chosen: str) -> tuple[Decoder, str]:
        """What makes small pictures of latents of a kind, in any thread and at once, and a note on why not another.

        Args:
            chosen: as `PreviewOptions.decoder`.
        """
        loaded = self.decoding.latent_kind()
        kind = kind or loaded
        if kind == loaded and kind not in self._colours:
            self._learn_colours(kind)
        if chosen == "approximate":
            return self._approximation(kind), ""
        found = self._find_taesd(kind)
        if found is None:
            missing = f"The host has no {_file(kind)} in models/VAE-taesd, so colours are approximate; it fetches the "
            return self._approximation(kind), missing + "file once TAESD is chosen as its live preview method."
        taesd, decoder = found
        if note := self._rest.note:
            return self._approximation(kind), note
        full = "The full VAE makes pictures in full size alone, as it cannot run while the host samples."
        return decoder, full if chosen == "full" else taesd.rest.note

    def full(self, recorded: Recorded) -> Decoder:
        """What the host makes its images with. The caller holds the host's queue, or is inside the request that does.

        Raises:
            VaeChanged: the host has another checkpoint or VAE by now.
            DiversityError: the host would not use its VAE.
        """
        self.check_vae(recorded)
        if shared.state.interrupted and shared.opts.live_preview_fast_interrupt:
            raise DiversityError(
                "After an interrupt this host decodes as its live previews are made (setting 'Return image with chosen "
                "live preview method on interrupt'); untick that, or generate once more, to see frames in full size."
            )
        return Decoder(FULL, self._decode_full)

    def for_files(self, recorded: Recorded) -> tuple[Decoder, str]:
        """What the request wants its files and its answer made with, and a note on why not another.

        The caller holds the host's queue, or is inside the request that does.
        """
        if recorded.decoder != "full":
            return self.live(recorded.latents, recorded.decoder)
        try:
            return self.full(recorded), ""
        except DiversityError as refusal:
            return self.live(recorded.latents, "auto")[0], str(refusal)

    def check_vae(self, recorded: Recorded) -> None:
        """Refuse frames that were made for another VAE.

        Raises:
            VaeChanged: they were.
        """
        now = self.vae_in_use()
        if now == recorded.vae:
            return
        then = recorded.vae[0] if recorded.vae else "no checkpoint"
        has = f"has '{now[0]}' now, perhaps with another VAE" if now else "has no checkpoint loaded"
        raise VaeChanged(
            f"The frame was made with '{then}' but the host {has}; generate with '{then}' again to see frames in full "
            "size."
        )

    def picture(self, generation: Generation, frame: Frame, view: View) -> Picture:
        """A small picture, by approximate colours where the better decoder fails.

        Raises:
            NotRecorded: the frame has no such image or prediction.
            DecodingFailed: the colours failed, too.
        """
        recorded = about(generation)
        decoder, _ = self.live(recorded.latents, recorded.decoder)
        try:
            return generation.pictures.get(frame, view, decoder)
        except DecodingFailed as failed:
            if decoder.name == APPROXIMATE:
                raise
            cause = reason(failed.__cause__ or failed)
            self._rest.begin(f"{decoder.name} failed ({cause}), so colours are approximate for a while.")
        return generation.pictures.get(frame, view, self._approximation(recorded.latents))

    def _decode_full(self, latent: torch.Tensor) -> Image.Image:
        with self.decoding.without_gradients():
            return _image(self.decoding.decode_full(latent))

    def _approximation(self, kind: str) -> Decoder:
        with self._lock:
            if kind not in self._approximate:
                self._approximate[kind] = Decoder(APPROXIMATE, lambda latent: self._approximated(latent, kind))
            return self._approximate[kind]

    def _approximated(self, latent: torch.Tensor, kind: str) -> Image.Image:
        if kind not in self._colours:
            raise DiversityError(f"no colours of latents of the kind {kind!r} are known")
        with self.decoding.without_gradients():
            return _image(torch.einsum("cxy,cr->rxy", latent.float(), self._colours[kind]))

    def _learn_colours(self, kind: str) -> None:
        """The host's function is linear in the channels, so its answers to single channels tell all of it."""
        channels = _CHANNELS.get(kind, 4)
        with contextlib.suppress(Exception), self.decoding.without_gradients():  # the model may be changing just now
            answers = self.decoding.colours(torch.eye(channels)[..., None, None])
            self._colours[kind] = torch.as_tensor(np.array(answers[..., 0, 0].float()))

    def _find_taesd(self, kind: str) -> tuple[Taesd, Decoder] | None:
        with self._lock:
            key = self._look(kind)
            if key is None:
                return None
            if key not in self._taesds:
                taesd = Taesd(self.decoding, key[0], self._clock)
                self._taesds = {other: kept for other, kept in self._taesds.items() if other[0] != key[0]}
                self._taesds[key] = taesd, Decoder(TAESD, taesd)
            return self._taesds[key]

    def _look(self, kind: str) -> tuple[str, float, int] | None:
        """Path, time and size of the kind's file; looked for every few seconds, for pages ask often."""
        when, key = self._looked.get(kind, (-1e9, None))
        if self._clock() - when < _LOOK_SECONDS:
            return key
        path = os.path.join(paths.models_path, "VAE-taesd", _file(kind))  # noqa: PTH118 - a str of the host's
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError:
            key = None
        else:
            if self._looked.get(kind, (0.0, None))[1] != (path, status.st_mtime, status.st_size):
                self._rest.until = -1.0
            key = path, status.st_mtime, status.st_size
        self._looked[kind] = self._clock(), key
        return key


def _file(kind: str) -> str:
    return f"{_FILES.get(kind, 'taesd')}_decoder.pth"


def _image(pixels: torch.Tensor) -> Image.Image:
    """[3, H, W] in -1..1, as the hosts make images of what they decode (modules/processing.py of both)."""
    scaled = torch.clamp((pixels.float() + 1.0) / 2.0, min=0.0, max=1.0)
    return Image.fromarray((255.0 * np.moveaxis(scaled.cpu().numpy(), 0, 2)).astype(np.uint8))


# Process-wide on purpose, as the host's own decoders are.
DECODERS = Decoders()
live = DECODERS.live
full = DECODERS.full
