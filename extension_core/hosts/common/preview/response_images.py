"""Frames and strip among the images of a response, and the entry in its `info` that says which is which."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from modules import shared
from PIL import Image

from extension_core.hosts.common.preview.recorded import Recorded
from extension_core.trajectory.frame_pictures import SIDES, Decoder, DecodingFailed, View
from extension_core.trajectory.recorder import MIB, Frame
from extension_core.trajectory.store import Generation

# Of pixels in RAM: the host encodes them all before it sends the first.
FRAMES_NBYTES = 256 * MIB
_MOST_PICTURES = FRAMES_NBYTES // (min(SIDES) ** 2 * 3)
_NAMED = 5


@dataclass
class ResponsePictures:
    """What is added to a response.

    Attributes:
        frames: a picture, and what `info` says of it.
        missing: sentences.
        compared: ids of the generations that this one is compared with, by their roles.
    """

    id: str
    frames: list[tuple[Image.Image, dict[str, Any]]] = field(default_factory=list)
    strip: Image.Image | None = None
    missing: list[str] = field(default_factory=list)
    compared: dict[str, str] = field(default_factory=dict)

    def entry(self, images: Sequence[Any]) -> dict[str, Any]:
        """What `info` says of these images; whatever another extension or script took away has no index."""
        places = {id(image): index for index, image in enumerate(images)}
        frames = [{"index": places.get(id(picture)), **said} for picture, said in self.frames]
        return {
            "id": self.id,
            "frames": frames,
            "strip": None if self.strip is None else places.get(id(self.strip)),
            "missing": " ".join(sentence for sentence in self.missing if sentence),
            **({"compared": self.compared} if self.compared else {}),
        }


def show_last(processed: Any, picture: Image.Image, infotext: str) -> None:
    """On the page: after all images. Forge has a list for what is no result, which its hires button leaves alone."""
    if shared.opts.do_not_show_images:
        return
    if hasattr(processed, "extra_images"):
        processed.extra_images = [*processed.extra_images, picture]  # the host's own list may be another request's too
    else:
        add(processed, picture, infotext)


def add(processed: Any, picture: Image.Image, infotext: str) -> None:
    """After all images, with the infotext at the same place: masks among them have none on the hosts."""
    lacking = len(processed.images) - len(processed.infotexts)
    processed.infotexts.extend([infotext] * lacking)
    processed.images.append(picture)
    processed.infotexts.append(infotext)


def chosen(frames: Sequence[Frame], requested: Sequence[int] | None) -> tuple[list[Frame], str]:
    """The frames of these numbers (None: all), each once, and a sentence on those that are not there."""
    if requested is None:
        return list(frames), ""
    there = {frame.info.number: frame for frame in frames}
    numbers = list(there)
    found: dict[int, Frame] = {}
    unknown = []
    for number in requested:
        known = numbers[number] if -len(numbers) <= number < 0 else number
        if known in there:
            found[known] = there[known]
        else:
            unknown.append(number)
    if not unknown:
        return list(found.values()), ""
    named = ", ".join(map(_short, unknown[:_NAMED])) + (" and more" if len(unknown) > _NAMED else "")
    here = f"numbers {numbers[0]} to {numbers[-1]}" if numbers else "none"
    return list(found.values()), f"There is no frame {named}; there are {here} ({len(numbers)} in all)."


def add_frames(
    response: ResponsePictures,
    processed: Any,
    generation: Generation,
    about: Recorded,
    decoder: Decoder,
    frames: Sequence[Frame],
) -> None:
    """Each image of each frame, by the size that the decoder makes, or smaller where there are too many for that."""
    pictures = [(frame, image) for frame in frames for image in range(frame.info.images)]
    try:
        side = _side_for(response, generation, decoder, pictures)
    except DecodingFailed as error:
        response.missing.append(f"No frames are sent: {error}")
        return
    if (surplus := len(pictures) - _MOST_PICTURES) > 0:
        response.missing.append(f"The oldest {surplus} of {len(pictures)} pictures of frames are not sent.")
    for nth, (frame, image) in enumerate(pictures[-_MOST_PICTURES:]):
        try:
            picture = _picture(generation, frame, image, decoder, side)
        except DecodingFailed as error:
            response.missing.append(f"Only {nth} pictures of frames are sent: {error}")
            return
        infotext = infotext_of(about, frame, image, processed)
        if shared.opts.enable_pnginfo:
            picture.info["parameters"] = infotext
        response.frames.append((picture, {"image": image, **frame.info.as_json()}))
        add(processed, picture, infotext)


def infotext_of(about: Recorded, frame: Frame, image: int, processed: Any) -> str:
    """Of the image that the frame became, else of the first."""
    index = frame.info.tag.section.batch * processed.batch_size + image
    texts = about.infotexts
    return texts[index] if index < len(texts) else texts[0] if texts else ""


def tell(processed: Any, response: ResponsePictures) -> None:
    """Let `info` have an entry.

    By a class for this one object: scripts such as X/Y/Z copy it for an answer of their own, and a function kept on
    the object would go on telling of the first.
    """
    kind: Any = type(processed)

    class WithPictures(kind):
        def js(self) -> str:
            """The host's, with one key more."""
            said = super().js()
            images = [*self.images, *getattr(self, "extra_images", ())]
            return json.dumps({**json.loads(said), "dt": response.entry(images)})

    processed.__class__ = WithPictures


def _picture(generation: Generation, frame: Frame, image: int, decoder: Decoder, side: int | None) -> Image.Image:
    picture = generation.pictures.get(frame, View(image, "guided", side), decoder).opened()
    picture.info = {}
    return picture


def _side_for(
    response: ResponsePictures, generation: Generation, decoder: Decoder, pictures: Sequence[tuple[Frame, int]]
) -> int | None:
    """The largest side at which all fit, reckoned as if all were as large as the largest; None: as they are."""
    largest, image = max(pictures, key=lambda one: one[0].latents().shape[-1], default=(None, 0))
    if largest is None:
        return None
    width, height = _picture(generation, largest, image, decoder, None).size
    room = FRAMES_NBYTES / (len(pictures) * 3)
    if width * height <= room:
        return None
    longest = max(width, height)
    fitting = [side for side in SIDES if width * height * (side / longest) ** 2 <= room]
    side = max(fitting, default=min(SIDES))
    response.missing.append(
        f"The frames are sent at {side} pixels, as {len(pictures)} of {longest} take more than "
        f"{FRAMES_NBYTES // MIB} MiB; ask for fewer by their numbers to have them whole."
    )
    return side


def _short(number: int) -> str:
    return str(number) if abs(number) < 10**12 else "with more than twelve digits"
