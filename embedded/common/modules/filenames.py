"""Names of pictures' files and folders, made from the patterns of the settings."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import re
import string
import zoneinfo
from collections.abc import Callable
from typing import Any, ClassVar

from PIL import Image

from modules import errors, sd_samplers, shared
from modules.shared import cmd_opts, opts

NOTHING_AND_SKIP_PREVIOUS_TEXT = object()
"""A field's value that leaves out the text before it as well."""
_INVALID = "/" if cmd_opts.unix_filenames_sanitization else '#<>:"/\\|?*\n\r\t'
_FIELD = re.compile(r"\[([^\[\]]+)\]")
_ARGUMENT = re.compile(r"(.*)<([^>]*)>$")
_BETWEEN_WORDS = re.compile(r"[\s" + string.punctuation + "]+")


def sanitize_filename_part(text: str | None, replace_spaces: bool = True) -> str | None:
    """A part of a name that every file system takes: at most --filenames-max-length characters, no dot at the end."""
    if text is None:
        return None
    text = text.replace(" ", "_") if replace_spaces else text
    text = "".join("_" if x in _INVALID else x for x in text)
    return text.lstrip(" ")[: cmd_opts.filenames_max_length].rstrip(" .")


def _as_told(text: str | None) -> str | None:
    return sanitize_filename_part(text, replace_spaces=False)


def get_next_sequence_number(path: str, basename: str) -> int:
    """One more than the highest number that a file of the folder begins with, after `basename` and a hyphen."""
    prefix, highest = f"{basename}-" if basename else "", -1
    for name in os.listdir(path):
        if name.startswith(prefix):
            with contextlib.suppress(ValueError):
                highest = max(highest, int(os.path.splitext(name[len(prefix) :])[0].split("-")[0]))
    return highest + 1


def _schedule(p: Any) -> str:
    if p.scheduler != "Automatic":
        return p.scheduler.capitalize()
    return sd_samplers.find_sampler_config(p.sampler_name).options.get("scheduler", "Automatic").capitalize()


def _in_zone(text_format: str = "", zone: str | None = None) -> str | None:
    default, now = "%Y%m%d%H%M%S", datetime.datetime.now()
    with contextlib.suppress(zoneinfo.ZoneInfoNotFoundError, ValueError):
        now = now.astimezone(None if zone is None else zoneinfo.ZoneInfo(zone))
    try:
        return _as_told(now.strftime(text_format or default))
    except (ValueError, TypeError):
        return _as_told(now.strftime(default))


def _hash(content: str | bytes, length: str = "", otherwise: int | None = 8) -> str:
    digest = hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
    return digest[: int(length) if length else otherwise]


class FilenameGenerator:
    """`apply` puts values in the place of a pattern's [fields]. What is unknown, fails or has no value stays as it
    stands.
    """

    def __init__(
        self, p: Any, seed: Any, prompt: Any, image: Image.Image, zip: bool = False, basename: str | None = ""
    ) -> None:
        self.p, self.seed, self.prompt, self.image, self.zip, self.basename = p, seed, prompt, image, zip, basename

    def _one_of_many(self, many: bool, value: Callable[[], Any]) -> Any:
        return value() if many and not self.zip else NOTHING_AND_SKIP_PREVIOUS_TEXT

    def _batch_number(self) -> Any:
        return self._one_of_many(self.p.batch_size != 1, lambda: self.p.batch_index + 1)

    def _generation_number(self) -> Any:
        p = self.p
        several = p.n_iter != 1 or p.batch_size != 1
        return self._one_of_many(several, lambda: p.iteration * p.batch_size + p.batch_index + 1)

    def _seed_last(self) -> Any:
        return NOTHING_AND_SKIP_PREVIOUS_TEXT if self.p.batch_size == 1 else self.p.all_seeds[-1]

    def _denoising(self) -> Any:
        return (self.p and self.p.denoising_strength) or NOTHING_AND_SKIP_PREVIOUS_TEXT

    def _styles(self) -> str | None:
        return self.p and _as_told(", ".join(x for x in self.p.styles if x != "None") or "None")

    def _sampler_and_schedule(self) -> Any:
        if not (hasattr(self.p, "scheduler") and hasattr(self.p, "sampler_name")):
            return NOTHING_AND_SKIP_PREVIOUS_TEXT
        return _as_told(f"{self.p.sampler_name} {_schedule(self.p)}")

    def _scheduler(self) -> Any:
        return _as_told(_schedule(self.p)) if hasattr(self.p, "scheduler") else NOTHING_AND_SKIP_PREVIOUS_TEXT

    def prompt_words(self) -> str | None:
        words = [x for x in _BETWEEN_WORDS.split(self.prompt or "") if x] or ["empty"]
        return _as_told(" ".join(words[: opts.directories_max_prompt_words]))

    def prompt_no_style(self) -> str | None:
        """The prompt without what the styles added."""
        if self.p is None or self.prompt is None:
            return None
        text = self.prompt
        for style in filter(None, shared.prompt_styles.get_style_prompts(self.p.styles)):
            for part in (*style.split("{prompt}"), style):
                text = text.replace(part, "").replace(", ,", ",").strip().strip(",")
        return _as_told(text)

    def hasprompt(self, *args: str) -> str | None:
        """Each "word|otherwise": the word where the prompt has it, else what follows the bar."""
        if self.p is None or self.prompt is None:
            return None
        pairs = ([*x.split("|"), ""] for x in args if x)
        found = [x.lower() if x.lower() in self.prompt.lower() else otherwise for x, otherwise, *_ in pairs]
        return sanitize_filename_part("".join(found))

    def get_vae_filename(self) -> str:
        from modules import sd_vae

        if sd_vae.loaded_vae_file is None:
            return "NoneType"
        parts = os.path.basename(sd_vae.loaded_vae_file).split(".")
        return parts[1] if len(parts) > 1 and not parts[0] else parts[0]

    replacements: ClassVar[dict[str, Callable[..., Any]]] = {
        "basename": lambda self: self.basename or "img",
        "seed": lambda self: "" if self.seed is None else self.seed,
        "seed_first": lambda self: self.seed if self.p.batch_size == 1 else self.p.all_seeds[0],
        "seed_last": _seed_last,
        "steps": lambda self: self.p and self.p.steps,
        "cfg": lambda self: self.p and self.p.cfg_scale,
        "width": lambda self: self.image.width,
        "height": lambda self: self.image.height,
        "styles": _styles,
        "sampler": lambda self: self.p and _as_told(self.p.sampler_name),
        "sampler_scheduler": lambda self: self.p and self._sampler_and_schedule(),
        "scheduler": lambda self: self.p and self._scheduler(),
        "model_hash": lambda self: getattr(self.p, "sd_model_hash", shared.sd_model.sd_model_hash),
        "model_name": lambda self: _as_told(shared.sd_model.sd_checkpoint_info.name_for_extra),
        "date": lambda self: f"{datetime.datetime.now():%Y-%m-%d}",
        "datetime": lambda self, *args: _in_zone(*args[:2]),
        "job_timestamp": lambda self: getattr(self.p, "job_timestamp", shared.state.job_timestamp),
        "prompt_hash": lambda self, *args: _hash(self.prompt, *args),
        "negative_prompt_hash": lambda self, *args: _hash(self.p.negative_prompt, *args),
        "full_prompt_hash": lambda self, *args: _hash(f"{self.p.prompt} {self.p.negative_prompt}", *args),
        "prompt": lambda self: sanitize_filename_part(self.prompt),
        "prompt_no_styles": prompt_no_style,
        "prompt_spaces": lambda self: _as_told(self.prompt),
        "prompt_words": prompt_words,
        "batch_number": _batch_number,
        "batch_size": lambda self: self.p.batch_size,
        "generation_number": _generation_number,
        "hasprompt": hasprompt,
        "clip_skip": lambda self: opts.data["CLIP_stop_at_last_layers"],
        "denoising": _denoising,
        "user": lambda self: self.p.user,
        "vae_filename": get_vae_filename,
        "none": lambda self: "",
        "image_hash": lambda self, length="", *_: _hash(self.image.tobytes(), length, None),
    }

    def _value(self, field: str) -> Any:
        """None where the field is to stay."""
        name, arguments = field, []
        while (found := _ARGUMENT.match(name)) is not None:
            name, argument = found.groups()
            arguments.insert(0, argument)
        if name.lower() not in self.replacements:
            return None
        try:
            return self.replacements[name.lower()](self, *arguments)
        except Exception:
            errors.report(f"[{field}] could not be put into the name of a file", exc_info=True)
            return None

    def apply(self, x: str) -> str:
        *pairs, last = _FIELD.split(x)
        name = ""
        for text, field in zip(pairs[::2], pairs[1::2], strict=True):
            value = self._value(field)
            if value is not NOTHING_AND_SKIP_PREVIOUS_TEXT:
                name += f"{text}[{field}]" if value is None else f"{text}{value}"
        return name + last
