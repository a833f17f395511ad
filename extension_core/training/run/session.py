"""From a configuration file to a running training: everything is opened and checked before the first update."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import UNet2DConditionModel
from tqdm import tqdm

from extension_core.errors import DiversityError, reason
from extension_core.training.data.cache import Cache
from extension_core.training.denoiser import Conditioning
from extension_core.training.networks.checkpoint import Checkpoint, open_checkpoint
from extension_core.training.networks.export import save_lora, save_unet
from extension_core.training.networks.text import TextEncoders
from extension_core.training.networks.vae import LatentCodec
from extension_core.training.run.assembly import Workshop
from extension_core.training.run.config import Config, read_config
from extension_core.training.run.describe import metadata_of
from extension_core.training.run.engine import Ending, Training
from extension_core.training.run.folder import RunFolder
from extension_core.training.run.prepare import PairEncoder, data_of, range_of, sizes_for, square
from extension_core.training.run.samples import Samples
from extension_core.training.run.wishes import Wishes
from extension_core.training.whole_files import write_whole

# Of a run that is gone on with. The length of progressive distillation says where each of its halvings begins.
_MAY_CHANGE = {"out": True, "samples": True, "course": {"updates", "save_every"}}
_MAY_CHANGE_IN_HALVINGS = {"out": True, "samples": True, "course": {"save_every"}}


@dataclass(frozen=True)
class Ended:
    """How a training ended.

    Args:
        signal: that stopped it, none where it was finished or asked to stop by a file.
        file: the student's.
    """

    ending: Ending
    signal: int | None
    file: Path


@dataclass
class _Parts:
    """A checkpoint's networks, on the accelerator's device."""

    checkpoint: Checkpoint
    base: UNet2DConditionModel
    text: TextEncoders
    codec: LatentCodec


def train(path: Path) -> Ended:
    """Train by a configuration file; resumes where its folder holds a run that was ended.

    Raises:
        DiversityError: something is not as it has to be. Whatever was saved before is whole.
    """
    config = read_config(path)
    accelerator = _accelerator(config)
    folder = RunFolder(config.out, accelerator.process_index)
    try:
        return _train(config, accelerator, folder)
    except Exception as error:
        if accelerator.is_main_process and config.out.is_dir():
            folder.tell(state="failed", sentence=str(error) if isinstance(error, DiversityError) else reason(error))
        raise


def _accelerator(config: Config) -> Accelerator:
    try:
        return Accelerator(mixed_precision=config.course.precision, log_with="tensorboard", project_dir=str(config.out))
    except ValueError as error:
        raise DiversityError(
            f'course.precision is "{config.course.precision}", which this machine does not have; take "no".'
        ) from error


def _train(config: Config, accelerator: Accelerator, folder: RunFolder) -> Ended:
    parts = _opened(config, accelerator.device)
    if accelerator.is_main_process:
        _keep_configuration(config, folder)
    wishes, file = Wishes(folder), config.out / f"{config.out.name}.safetensors"
    with ExitStack() as stack:
        stack.enter_context(wishes.heard())
        workshop, samples = _workshop(config, parts, accelerator, folder)
        accelerator.init_trackers("tensorboard")
        stack.callback(accelerator.end_training)
        bar = stack.enter_context(_bar("update", accelerator, config.course.updates))
        training = Training(
            workshop, folder, wishes, samples, _exporter(config, parts.checkpoint, file), lambda made: _at(bar, made)
        )
        ending = training.run()
        if accelerator.is_main_process:
            folder.tell(state=ending, update=training.made, updates=config.course.updates, file=str(file))
    return Ended(ending, wishes.signal, file)


def _opened(config: Config, device: torch.device) -> _Parts:
    asked = config.base
    checkpoint = open_checkpoint(asked.checkpoint, asked.description, asked.prediction, asked.tokenizer)
    # A base of which nothing is trained is held in the precision in which it is asked.
    held = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[config.course.precision]
    base = checkpoint.unet(torch.float32 if config.student.kind == "unet" else held)
    base.to(device=device)
    return _Parts(checkpoint, base, checkpoint.text_encoders().to(device), checkpoint.vae().to(device))


def _workshop(
    config: Config, parts: _Parts, accelerator: Accelerator, folder: RunFolder
) -> tuple[Workshop, Samples | None]:
    cache = Cache(config.out / "cache", PairEncoder(parts.checkpoint, parts.text, parts.codec), sizes_for(config))
    with accelerator.main_process_first(), _bar("picture", accelerator) as bar:
        sizes = data_of(config, parts.checkpoint, cache, parts.codec, lambda made: _at(bar, made))
    device = accelerator.device
    uncond: Conditioning = {name: value.to(device) for name, value in parts.text.empty.items()}
    workshop = Workshop(config, parts.checkpoint, accelerator, parts.base, uncond, sizes, range_of(config, sizes))
    samples = _samples(config, parts, device, folder) if config.samples.every else None
    parts.text.to(torch.device("cpu"))
    if samples is None:
        parts.codec.to(torch.device("cpu"))
    return workshop, samples


def _samples(config: Config, parts: _Parts, device: torch.device, folder: RunFolder) -> Samples:
    prompts = config.samples.prompts or [""]
    shape, sizes = square(config, parts.codec)
    told = dict(parts.text.encode(prompts))
    if parts.checkpoint.architecture == "sdxl":
        told["time_ids"] = torch.tensor([sizes] * len(prompts)).float()
    return Samples(folder, parts.codec, parts.checkpoint.schedule, prompts, told, shape, config.samples.seeds, device)


def _exporter(config: Config, checkpoint: Checkpoint, file: Path) -> Callable[[UNet2DConditionModel, int], None]:
    def export(student: UNet2DConditionModel, updates: int) -> None:
        metadata, asked = metadata_of(config, updates), config.student
        if asked.kind == "lora":
            save_lora(student, checkpoint, file, asked.rank, asked.alpha, metadata)
        else:
            save_unet(student, checkpoint, file, metadata)

    return export


def _keep_configuration(config: Config, folder: RunFolder) -> None:
    """Beside the run; one that has begun goes on with the same, but for its length and its samples."""
    may_change = _MAY_CHANGE_IN_HALVINGS if config.method.name == "pd" else _MAY_CHANGE
    told = json.loads(config.model_dump_json(exclude=may_change))
    kept = folder.path / "config.json"
    if kept.is_file() and folder.load() is not None:
        before = json.loads(kept.read_text(encoding="utf-8"))
        if changed := sorted(name for name in told if told[name] != before.get(name)):
            raise DiversityError(
                f"{folder.path} holds a run of another configuration ({', '.join(changed)} differ); name another "
                "folder in out, or take the configuration of before."
            )
    write_whole(kept, lambda file: file.write(json.dumps(told, indent=1).encode()))


def _bar(unit: str, accelerator: Accelerator, total: int | None = None) -> tqdm[Any]:
    return tqdm(total=total, unit=unit, disable=not accelerator.is_main_process, mininterval=1.0)


def _at(bar: tqdm[Any], made: int) -> None:
    bar.update(made - bar.n)
