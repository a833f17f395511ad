"""Which family of distilled models a file's name tells.

A wrong family spoils images without a word, an unknown one is chosen by hand. So a word of everyday use (lightning,
turbo, hyper) counts where the rest of the name shows that it stands for the method, and never where the file's
metadata shows a LoRA that was taught by pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from extension_core.sampling.file_words import Word, step_count, words_of

_BASES = ("sd", "sdv", "sdxl", "xl")
# Numbers of the later models after SD, which no host here runs with two U-Nets.
_LATER_SD = ("3", "35")
_OTHER_KINDS = {
    "flux": "Flux", "qwen": "Qwen", "wan": "Wan", "zimage": "Z-Image", "krea": "Krea", "klein": "Flux", "ltx": "LTX",
    "ltxv": "LTX", "hunyuan": "Hunyuan", "hyvideo": "Hunyuan", "pixart": "PixArt", "kolors": "Kolors", "sana": "Sana",
    "chroma": "Chroma", "cascade": "Stable Cascade", "auraflow": "AuraFlow", "lumina": "Lumina", "svd": "SVD",
    "minimax": "MiniMax", "ernie": "ERNIE", "acestep": "ACE-Step", "animatediff": "AnimateDiff",
}  # fmt: skip
# Checkpoints whose makers publish a distilled version under the same name.
_SERIES = ("juggernaut", "dreamshaper", "proteus", "realvis")
# What says nothing of what a file shows.
_PLAIN = frozenset({
    "a", "alpha", "b", "backup", "baked", "bakedvae", "base", "beta", "bf", "bit", "by", "cfg", "checkpoint",
    "comfy", "comfyui", "converted", "diffusers", "diffusion", "dim", "distill", "distillation", "distilled", "e",
    "ema", "emaonly", "f", "fast", "faster", "final", "fix", "fixed", "fp", "full", "half", "inpaint", "inpainting",
    "int", "locon", "lora", "loras", "lycoris", "m", "method", "model", "motion", "no", "noema",
    "normalcfg", "nsfw", "official", "only", "original", "pruned", "pytorch", "q", "r", "rank", "rd", "s",
    "safetensors", "sampler", "sfw", "smallcfg", "stable", "step", "steplora", "steps", "stepslora", "t", "test",
    "unet", "v", "vae", "ver", "version", "weights", "x",
})  # fmt: skip
# What a method is mixed into may want another sampler than it does, and mostly DPM++ SDE. "Mix" ends many a
# checkpoint's own name, so it counts right behind the method alone.
_MERGED, _MIXED = frozenset({"blend", "merge", "merged"}), ("mix", "mixed")
# Anywhere in a word: what may stand for a method, and how makers say that their files are fast.
_HINTS = (
    *("dmd", "lightning", "turbo", "lcm", "hyper", "pcm", "tcd", "flash", "distil", "sdxs", "schnell"),
    *("lighting", "tdd", "slam", "step", "fast", "speed", "quick", "instant", "accel", "boost"),
)
_TAKEN_BACK = ("no", "non", "not", "without", "anti", "for", "with")
_SAMPLERS = (("dpm", "DPM++"), ("euler", "Euler"), ("unipc", "UniPC"), ("heun", "Heun"), ("ddim", "DDIM"))
_LONGEST_ENDING = len("ppsde")


@dataclass(frozen=True)
class NameSays:
    """What a name tells.

    Attributes:
        family: its name, "" if the name tells none or too many.
        words: what of the name decided, as the end of "the name says ...".
        steps: the number of steps that the file is for, if it says.
        sampler: the host's name of a sampler that the name names, "" if none.
        has_lora: whether it calls the file a LoRA.
    """

    family: str = ""
    words: str = ""
    steps: int | None = None
    sampler: str = ""
    has_lora: bool = False


@dataclass(frozen=True)
class _Name:
    text: str
    words: tuple[Word, ...]
    steps: int | None

    def says(self, at: int) -> str:
        """The word at a place, "" beyond the ends."""
        return self.words[at].text if 0 <= at < len(self.words) else ""

    def plain(self, places: Sequence[int]) -> bool:
        """Whether nothing at these places says what the file shows."""
        return all(_is_plain(self.words[at]) or self.is_base(at) for at in places)

    def is_base(self, at: int) -> bool:
        """Whether a word is a name of SD 1.x, 2.x or SDXL, alone or at the end of a checkpoint's name."""
        word = self.says(at)
        if word in ("sd", "sdv") and self.says(at + 1) in _LATER_SD:
            return False
        return word in _BASES or word.startswith("sdxl") or (word.endswith("xl") and len(word) > len("sdxl"))

    def has_base(self, places: Sequence[int]) -> bool:
        """Whether one of these words is such a name."""
        return any(self.is_base(at) for at in places)


def tell(text: str, taught_by_pictures: bool = False) -> NameSays:
    """What a file's name tells.

    Args:
        text: without its suffix; folders before it are read where the last part says nothing.
        taught_by_pictures: whether the file's metadata shows a LoRA that was trained on pictures of something.
    """
    name = _name_of(text)
    steps, sampler = name.steps, _sampler(name)
    lora = any("lora" in word.text for word in name.words)
    found = dict(_families(name, taught_by_pictures))
    if found and (other := other_kind(text)):
        return NameSays("", f"says {other}, for which there is no family", steps, sampler, lora)
    if len(found) > 1:
        return NameSays("", f"says {' and '.join(found.values())} at once", steps, sampler, lora)
    family, said = next(iter(found.items()), ("", ""))
    return NameSays(family, f"says {said}" if said else "", steps, sampler, lora)


def other_kind(text: str) -> str:
    """The kind of model that a text names, if it is none that has families here; "" otherwise."""
    name = _name_of(text)
    for at, word in enumerate(name.words):
        if word.text in ("sd", "sdv", "diffusion") and name.says(at + 1) in _LATER_SD:
            return "SD 3"
        if word.text == "z" and name.says(at + 1) == "image":
            return _OTHER_KINDS["zimage"]
        if word.text in _OTHER_KINDS and not name.has_base(range(len(name.words))):
            return _OTHER_KINDS[word.text]
    return ""


def hints_at_few_steps(text: str) -> bool:
    """Whether a text holds a word of few-step models, also where it may mean something else."""
    folded = text.casefold()
    return any(word in folded for word in _HINTS)


def _name_of(text: str) -> _Name:
    """The last part of a path that says more than plain words do, else all of it."""
    for part in [part for part in reversed(text.replace("\\", "/").split("/")) if part]:
        words = tuple(words_of(part))
        if not all(_is_plain(word) for word in words):
            return _Name(part, words, step_count(words))
    words = tuple(words_of(text))
    return _Name(text, words, step_count(words))


def _is_plain(word: Word) -> bool:
    return word.is_number or word.text in _PLAIN


def _families(name: _Name, taught: bool) -> list[tuple[str, str]]:
    """Families by name, with how each is called; where two are of one name, the one that is the method's."""
    found: dict[str, str] = {}
    known = {word.text for word in name.words}
    for family, said, counts in _WORDS:
        if family not in known:
            continue
        places = [at for at, word in enumerate(name.words) if word.text == family and not _taken_back(name, at)]
        if any(counts(name, at) and not (taught and counts is not _always) for at in places):
            target, called = said(name)
            found.setdefault(target, called)
    if len(found) > 1:
        found.pop("turbo", None)  # merges are called that as well as by the method that made them
    for method, sampler in (("dmd2", "lcm"), ("hyper", "tcd")):
        if method in found:
            found.pop(sampler, None)  # what it is sampled like
    return list(found.items())


def _taken_back(name: _Name, at: int) -> bool:
    return name.says(at - 1) in _TAKEN_BACK and at > 0


def _always(_name: _Name, _at: int) -> bool:
    return True


def _for_the_method(name: _Name, at: int) -> bool:
    """Whether a word of everyday use stands for a way of distilling.

    It does with a number of steps; and, unless it is called a mix, where all else is plain; right after the base's name
    or version, if nothing is shown after it; and in the version's part of a name as Civitai makes them,
    `modelXL_versionLightning`.
    """
    everywhere, before, after = range(len(name.words)), range(at), range(at + 1, len(name.words))
    if name.steps is not None:
        return True
    if name.says(at + 1) in _MIXED or any(word.text in _MERGED for word in name.words):
        return False
    if name.plain([place for place in everywhere if place != at]):
        return True
    if any(name.says(place).startswith(_SERIES) for place in before):
        return True
    left = next((place for place in reversed(before) if not _is_plain(name.words[place])), -1)
    if left >= 0 and name.is_base(left) and name.plain(after):
        return True
    return _in_version(name, at)


def _in_version(name: _Name, at: int) -> bool:
    """Whether a word stands in the version's part of a Civitai name whose first part ends in a base."""
    model, _, version = name.text.partition("_")
    if not version or set("_ -") & set(version) or set(" -") & set(model) or name.words[at].start < len(model):
        return False
    return name.has_base([place for place in range(1, at) if name.words[place].end <= len(model)])


def _beside_a_base(name: _Name, at: int) -> bool:
    """Whether an abbreviation of other things stands for a way of distilling."""
    about = (name.says(at + 1), name.says(at - 1) if at else "")
    of_a_base = any(name.is_base(place) for place in (at - 1, at + 1))
    return of_a_base or _for_the_method(name, at) or any("cfg" in word for word in about)


def _hyper(name: _Name, at: int) -> bool:
    return name.is_base(at + 1) or _for_the_method(name, at)


def _flash(name: _Name, at: int) -> bool:
    """Flash Diffusion's files; SDXL Flash is another model, for 6 to 9 steps of DPM++ SDE with guidance."""
    others = [place for place in range(len(name.words)) if place != at]
    return (name.is_base(at + 1) or name.says(at + 1) == "diffusion") and name.plain(others)


def _called(family: str, label: str) -> Callable[[_Name], tuple[str, str]]:
    return lambda _name: (family, label)


def _pcm(name: _Name) -> tuple[str, str]:
    """PCM's stochastic LoRAs are sampled as LCM's."""
    like = any(word.text == "lcm" and name.says(at + 1) == "like" for at, word in enumerate(name.words))
    return ("lcm", "PCM, of the kind that is sampled like LCM") if like else ("pcm", "PCM")


_WORDS: tuple[tuple[str, Callable[[_Name], tuple[str, str]], Callable[[_Name, int], bool]], ...] = (
    ("dmd", _called("dmd2", "DMD2"), _always),
    ("pcm", _pcm, _beside_a_base),
    ("tcd", _called("tcd", "TCD"), _beside_a_base),
    ("lcm", _called("lcm", "LCM"), _always),
    ("flash", _called("lcm", "Flash Diffusion, which is sampled like LCM"), _flash),
    ("lightning", _called("lightning", "SDXL-Lightning"), _for_the_method),
    ("hyper", _called("hyper", "Hyper-SD"), _hyper),
    ("turbo", _called("turbo", "Turbo"), _for_the_method),
)


def _sampler(name: _Name) -> str:
    """The host's name of the sampler in a name, as far as it says: DPMSDE, DPM_SDE_Karras, Euler_A."""
    for at, word in enumerate(name.words):
        for begin, label in _SAMPLERS:
            if word.text.startswith(begin) and len(word.text) <= len(begin) + _LONGEST_ENDING:
                return label + _kind_of(label, [word.text[len(begin) :], name.says(at + 1), name.says(at + 2)])
    return ""


def _kind_of(label: str, after: list[str]) -> str:
    if label == "Euler":
        return " a" if after[:2] == ["", "a"] else ""
    return " SDE" if any("sde" in part for part in after) else ""
