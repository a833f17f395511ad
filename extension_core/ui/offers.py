"""What may be chosen beside the loaded checkpoint: which files fit, best first; and what there is else. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from extension_core.sampling.families import Detection
from extension_core.sampling.roles import is_few_step
from extension_core.sampling.routing import Phase
from extension_core.weights.file_facts import Kind

# By their makers' own file names, as people meet them on the makers' pages.
PUBLIC_FILES: dict[str, tuple[str, ...]] = {
    "SD 1.x": ("Hyper-SD15-4steps-lora", "lcm-lora-sdv1-5", "pcm_sd15_smallcfg_4step_converted"),
    "SD 2.x": ("sd_turbo",),
    "SDXL": (
        *("dmd2_sdxl_4step_unet_fp16", "dmd2_sdxl_4step_lora_fp16", "sdxl_lightning_4step_lora"),
        *("Hyper-SDXL-4steps-lora", "sd_xl_turbo_1.0_fp16", "lcm-lora-sdxl"),
    ),
}
_KINDS: dict[str, str] = {"checkpoint": "checkpoint", "unet": "U-Net", "lora": "LoRA"}
_GROUPS: dict[str, int] = {"checkpoint": 0, "unet": 1, "lora": 2}
_MANY: dict[str, str] = {"checkpoint": "checkpoints", "unet": "U-Nets", "lora": "LoRAs"}
# What files of each rank are called in the list, by the part that is to be chosen.
_HEADINGS: dict[Phase, tuple[str, ...]] = {
    Phase.DISTILLED: ("Few-step {}", "Few-step {}", "Not certain: {}", "Other {}"),
    Phase.BASE: ("Bases: {}", "Perhaps bases: {}", "Perhaps few-step: {}", "Other {}"),
}
_UNFIT = "Do not fit"
_LONGEST_LIST = 6


@dataclass(frozen=True)
class Offer:
    """One entry of the drop-down.

    Attributes:
        name: what is sent and what an infotext is pasted to.
        detection: None where the file cannot be read.
        fits: None while that is not known.
        reason: why it does not fit, or why that is not known; "" where it fits.
    """

    name: str
    file: str
    kind: Kind
    detection: Detection | None
    fits: bool | None
    reason: str = ""

    @property
    def words(self) -> str:
        """What is said beside the name: its kind, family and steps, and whether it fits or why that is not so."""
        if self.fits is False:
            return f"does not fit: {self.reason}"
        fitting = "fits" if self.fits else f"not known whether it fits: {self.reason}" if self.reason else ""
        return ", ".join(filter(None, (self._model, fitting)))

    @property
    def _model(self) -> str:
        found = self.detection
        if found is None:
            return ""
        if not is_few_step(found):
            family = "may be a few-step model, family not known" if found.hints or found.steps else "family not known"
        else:
            family = found.family.label
        steps = f"{found.steps} step{'s' if found.steps > 1 else ''}" if found.steps else ""
        return ", ".join(filter(None, (_KINDS.get(self.kind, ""), family, steps)))


def best_first(offers: Iterable[Offer], part: Phase = Phase.DISTILLED) -> list[Offer]:
    """Files that fit and have what the part wants, then others that may fit, then those that do not; kinds together.

    Args:
        part: that the chosen file is to play. A base is no few-step model and no LoRA.
    """
    return sorted(offers, key=lambda offer: (_rank(offer, part), _GROUPS.get(offer.kind, 0), offer.name.casefold()))


def heading(offer: Offer, part: Phase = Phase.DISTILLED) -> str:
    """What stands above a file and its like in the list; those of one heading stand together in `best_first`."""
    rank = _rank(offer, part)
    titles = _HEADINGS[part]
    return titles[rank].format(_MANY.get(offer.kind, "files")) if rank < len(titles) else _UNFIT


def _rank(offer: Offer, part: Phase) -> int:
    if offer.fits is False or offer.detection is None:
        return 4
    few_step = is_few_step(offer.detection)
    fits = few_step if part is Phase.DISTILLED else not few_step and offer.kind != "lora"
    unsure = bool(offer.detection.hints or offer.detection.steps)
    if fits:
        return 0 if offer.fits or part is Phase.DISTILLED else 1
    return 2 if unsure or offer.fits is None else 3


def none_found(
    offers: Sequence[Offer], architecture: str, folders: Sequence[str], part: Phase = Phase.DISTILLED
) -> str:
    """A sentence where nothing fits that has what the part wants, "" otherwise.

    Args:
        architecture: the loaded checkpoint's, "" while that is not known.
        folders: that were looked into.
    """
    if any(offer.fits is not False and _rank(offer, part) <= 1 for offer in offers):
        return ""
    looked = ", ".join(f"'{folder}'" for folder in folders)
    of = f" for {architecture}" if architecture else ""
    if part is Phase.BASE:
        return f"No other checkpoint{of} was found in {looked}; put the base into one of these."
    known = PUBLIC_FILES.get(architecture, ())
    public = f"; public ones are {', '.join(known[:_LONGEST_LIST])}" if known else ""
    return (
        f"No few-step file{of} was found in {looked}{public}; put one there, or choose a file "
        "that you know to be one and say its Family."
    )
