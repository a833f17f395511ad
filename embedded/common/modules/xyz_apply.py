"""What the host's own axes of the X/Y/Z plot do to a cell's request, and which values they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modules import flavour_xyz, sd_models, sd_samplers, sd_schedulers, sd_vae, shared

Apply = Callable[[Any, Any, Any], None]
_TRUE = ("true", "yes", "y", "1")
_FACES = {"codeformer": "CodeFormer", "gfpgan": "GFPGAN"}


def do_nothing(p: Any, x: Any, xs: Any) -> None:
    """A plot without this axis."""


def apply_field(field: str) -> Apply:
    def fun(p: Any, x: Any, xs: Any) -> None:
        setattr(p, field, x)

    return fun


def apply_override(field: str, boolean: bool = False) -> Apply:
    """A setting. The cells share one dict of them, so that each finds its predecessor's there."""

    def fun(p: Any, x: Any, xs: Any) -> None:
        p.override_settings[field] = x.lower() == "true" if boolean else x

    return fun


def apply_prompt(p: Any, x: str, xs: list[str]) -> None:
    """Puts `x` in the place of the axis's first value."""
    wanted = xs[0]
    if wanted not in p.prompt and wanted not in p.negative_prompt:
        raise RuntimeError(f"Prompt S/R did not find {wanted} in prompt or negative prompt.")
    p.prompt = p.prompt.replace(wanted, x)
    p.negative_prompt = p.negative_prompt.replace(wanted, x)


def apply_order(p: Any, x: tuple[str, ...], xs: Any) -> None:
    """Puts the texts in this order into the places at which they stand."""
    rest, done = p.prompt, ""
    for there, wanted in zip(sorted(x, key=p.prompt.find), x, strict=True):
        place = rest.find(there)
        done += rest[:place] + wanted
        rest = rest[place + len(there) :]
    p.prompt = done + rest


def apply_checkpoint(p: Any, x: str, xs: Any) -> None:
    flavour_xyz.choose_checkpoint(p, _checkpoint(x))


def apply_size(p: Any, x: str, xs: Any) -> None:
    width, _, height = x.partition("x")
    try:
        p.width, p.height = int(width), int(height)
    except ValueError:
        print(f"The X/Y/Z plot cannot read the size {x!r}; it stays as it is")


def find_vae(name: str) -> str:
    wanted = name.strip().lower()
    known = {"auto": "Automatic", "automatic": "Automatic", "none": "None"}
    known = {**{x.lower(): x for x in reversed(sd_vae.vae_dict)}, **known}
    if wanted not in known:
        print(f"There is no VAE {wanted!r}; Automatic is used instead")
    return known.get(wanted, "Automatic")


def apply_vae(p: Any, x: str, xs: Any) -> None:
    p.override_settings["sd_vae"] = find_vae(x)


def apply_styles(p: Any, x: str, xs: Any) -> None:
    p.styles.extend(x.split(","))


def apply_uni_pc_order(p: Any, x: int, xs: Any) -> None:
    p.override_settings["uni_pc_order"] = min(x, p.steps - 1)


def apply_face_restore(p: Any, opt: str, x: Any) -> None:
    wanted = opt.lower()
    if wanted in _FACES:
        p.face_restoration_model = _FACES[wanted]
    p.restore_faces = wanted in _FACES or wanted in _TRUE


def _checkpoint(name: str) -> Any:
    info = sd_models.get_closet_checkpoint_match(name)
    if info is None:
        raise RuntimeError(f"Unknown checkpoint: {name}")
    return info


def confirm_samplers(p: Any, xs: list[str]) -> None:
    for x in xs:
        if x.lower() not in sd_samplers.samplers_map:
            raise RuntimeError(f"Unknown sampler: {x}")


def confirm_checkpoints(p: Any, xs: list[str]) -> None:
    for x in xs:
        _checkpoint(x)


def confirm_checkpoints_or_none(p: Any, xs: list[str | None]) -> None:
    for x in xs:
        if x not in (None, "", "None", "none"):
            _checkpoint(x)


def confirm_range(min_val: float, max_val: float, axis_label: str) -> Callable[[Any, list[Any]], None]:
    def confirm(p: Any, xs: list[Any]) -> None:
        for x in xs:
            if not min_val <= x <= max_val:
                raise ValueError(f'{axis_label} value "{x}" out of range [{min_val}, {max_val}]')

    return confirm


def boolean_choice(reverse: bool = False) -> Callable[[], list[str]]:
    return lambda: ["False", "True"] if reverse else ["True", "False"]


def _shown(samplers: list[Any]) -> list[str]:
    return [x.name for x in samplers if x.name not in shared.opts.hide_samplers]


def samplers() -> list[str]:
    return _shown(sd_samplers.samplers)


def samplers_for_img2img() -> list[str]:
    return _shown(sd_samplers.samplers_for_img2img)


def checkpoints() -> list[str]:
    return sorted(sd_models.checkpoints_list, key=str.casefold)


def schedules() -> list[str]:
    return [x.label for x in sd_schedulers.schedulers]


def upscalers() -> list[str]:
    return [*shared.latent_upscale_modes, *(x.name for x in shared.sd_upscalers)]


def vaes() -> list[str]:
    return ["Automatic", "None", *sd_vae.vae_dict]


def styles() -> list[str]:
    return list(shared.prompt_styles.styles)
