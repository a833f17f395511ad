"""What becomes of a recording when its images are made: files, the gallery's last image, the API's answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property
from typing import Any

from PIL import Image

from extension_core.errors import DiversityError, reason
from extension_core.hosts.common.preview import response_images, strip_files
from extension_core.hosts.common.preview.recorded import Files, Place, Recorded, about
from extension_core.hosts.common.preview.response_images import ResponsePictures
from extension_core.hosts.common.preview.strips import Strips, strips_of
from extension_core.options.preview import PreviewOptions
from extension_core.trajectory.frame_pictures import Decoder
from extension_core.trajectory.store import Generation

_LOG = logging.getLogger("diversity_distillation")


def finish(p: Any, processed: Any, generation: Generation, preview: PreviewOptions, decoder: Decoder) -> None:
    """Do what the request asks for with its frames; called in the `postprocess` hook, when all images are made.

    Nothing here costs the images: what fails is told under them, in the log and in the API's answer.
    """
    finishing = _Finishing(p, processed, generation, decoder)
    finishing.trying("The preview could not be finished", finishing.note)
    if preview.save:
        finishing.trying("The DT strip could not be saved", finishing.save)
    if finishing.about.is_api:
        finishing.trying("The answer could not tell of the frames", lambda: finishing.response(preview))
    elif preview.gallery:
        finishing.trying("The DT strip could not be shown", finishing.show)


def note_place(p: Any, generation: Generation, decoder: Decoder, infotext: str = "") -> None:
    """Let `save_later` know where to write; `finish` does, too. For requests that may fail before that."""
    about(generation).place = strip_files.place_of(p, infotext, decoder)


def save_later(generation: Generation, decoder: Decoder | None = None) -> list[str]:
    """Write what `finish` would have; for a button pressed when the request is gone.

    Returns names without folders, the same ones however often it is called.

    Args:
        decoder: None for that of the request. One that needs the host's queue lock is to be called under it.

    Raises:
        DiversityError: nothing was recorded or it cannot be written; one sentence.
    """
    recorded = about(generation)
    if not recorded.files.complete:
        if recorded.place is None:
            raise DiversityError("The DT strip cannot be saved yet, as the generation runs or has no result.")
        try:
            _write_later(generation, recorded.files, recorded.place, decoder)
        except DiversityError:
            raise
        except Exception as error:  # memory, above all
            _LOG.exception("The DT strip could not be saved")
            raise DiversityError(f"The DT strip could not be saved ({reason(error)}).") from error
    return recorded.files.names


def _write_later(generation: Generation, written: Files, place: Place, decoder: Decoder | None) -> None:
    strips = strips_of(generation, decoder or place.decoder)
    if not strips.strips:
        raise DiversityError(f"There is no DT strip to save. {strips.missing}")
    strip_files.write(written, strips, strip_files.sheet_of(strips, place), place)


class _Finishing:
    """One request's; strip and sheet are made once, and only if something asks for them."""

    def __init__(self, p: Any, processed: Any, generation: Generation, decoder: Decoder) -> None:
        self.p, self.processed, self.generation, self.decoder = p, processed, generation, decoder
        self.about: Recorded = about(generation)
        self.failures: list[str] = []

    def trying(self, failed: str, step: Callable[[], None]) -> None:
        """Run a step; what it raises becomes a sentence."""
        try:
            step()
        except DiversityError as error:
            self.tell(str(error))
        except Exception as error:  # noqa: BLE001 - whatever happens to frames, it may not cost the images
            _LOG.exception("%s", failed)
            self.tell(f"{failed} ({reason(error)}); the images are as they were.")

    def tell(self, sentence: str) -> None:
        """To the user, under the image: the host has already collected what was told before."""
        _LOG.warning("%s", sentence)
        self.failures.append(sentence)
        self.p.comment(sentence)
        self.processed.comments += f"{sentence}\n"

    def note(self) -> None:
        """Keep what `save_later` needs."""
        texts = self.processed.infotexts
        first = self.processed.index_of_first_image
        self.about.infotexts = tuple(texts[first:] or texts) or ("",)
        self.about.place = strip_files.place_of(self.p, self.about.infotexts[0], self.decoder)

    def save(self) -> None:
        if not self.p.save_samples():
            raise DiversityError(
                "The DT strip was not saved, as the host saves no images of this request; over the API ask for "
                "save_images."
            )
        strip_files.write(self.about.files, self.strips, self.sheet, self.place, self.p)

    def show(self) -> None:
        response_images.show_last(self.processed, self.sheet, self.place.infotext)

    def response(self, preview: PreviewOptions) -> None:
        """Over the API: frames, then the strip, and what `info` says of them."""
        response = ResponsePictures(self.generation.id, compared=self.about.compared)
        if preview.returned:
            self.trying("The frames could not be sent", lambda: self._add_frames(response, preview))
        if preview.gallery or (preview.returned and preview.frames == ()):
            self.trying("The DT strip could not be sent", lambda: self._add_strip(response))
        response.missing = [self.generation.update().missing, *response.missing, *dict.fromkeys(self.failures)]
        response_images.tell(self.processed, response)

    def _add_frames(self, response: ResponsePictures, preview: PreviewOptions) -> None:
        frames, sentence = response_images.chosen(self.generation.recorder.frames(), preview.frames)
        response.missing.append(sentence)
        if frames:
            response_images.add_frames(response, self.processed, self.generation, self.about, self.decoder, frames)

    def _add_strip(self, response: ResponsePictures) -> None:
        response_images.add(self.processed, self.sheet, self.place.infotext)
        response.strip = self.sheet
        response.missing.append(self.strips.unshown)

    @property
    def place(self) -> Place:
        assert self.about.place is not None
        return self.about.place

    @cached_property
    def strips(self) -> Strips:
        strips = strips_of(self.generation, self.decoder)
        if not strips.strips:
            raise DiversityError(f"There is no DT strip. {strips.missing}")
        return strips

    @cached_property
    def sheet(self) -> Image.Image:
        return strip_files.sheet_of(self.strips, self.place)
