"""Built-in extensions of Forge that guide with the unconditional half, which phases at CFG 1 do without.

Read in extensions-builtin/sd_forge_sag, sd_forge_dynamic_thresholding and sd_forge_latent_modifier (dfdcbab6).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from extension_core.sampling.routing import Phase
from extension_core.sampling.session import Session

_SAG = "SelfAttentionGuidance Integrated (SD 1.x, SD 2.x, SDXL)"
# Given zeros for the half that is missing, which they take for a prediction.
_TAKE_ZEROS = ("DynamicThresholding (CFG-Fix) Integrated", "LatentModifier Integrated")


def notes(p: Any, session: Session) -> tuple[str, ...]:
    """What the user should know of those that are switched on for a request, whose CFG is settled."""
    # It looks at the request's CFG alone, and keeps away from both phases.
    silent = [_SAG] if p.cfg_scale <= 1 and _is_on(p, _SAG) else []
    without = " and ".join(phase.value for phase in _without_uncond(session))
    astray = [title for title in _TAKE_ZEROS if without and _is_on(p, title)]
    return (
        *(_no_effect(title.partition(" (")[0], _looked_at(session)) for title in silent),
        *(_on_nothing(title, without) for title in astray),
    )


def _no_effect(name: str, phase: str) -> str:
    return (
        f"{name} has no effect in any phase: this WebUI switches it off where the CFG scale is 1, and the one that it "
        f"looks at is the {phase} CFG; set that above 1 or switch the extension off."
    )


def _on_nothing(name: str, without: str) -> str:
    return (
        f"{name} works on the difference between prompt and negative prompt, which a phase at CFG 1 has not "
        f"({without}): what it makes of that phase is not what it is for; set the CFG above 1 or switch it off."
    )


def _looked_at(session: Session) -> str:
    return (Phase.BASE if session.options.mode == "base" else Phase.DISTILLED).value


def _without_uncond(session: Session) -> Iterator[Phase]:
    passes = session.plan.passes
    if any(part.split.base and part.base_cfg == 1.0 for part in passes):
        yield Phase.BASE
    if any(part.split.distilled and part.distilled_cfg == 1.0 for part in passes):
        yield Phase.DISTILLED


def _is_on(p: Any, title: str) -> bool:
    """The first of such a script's arguments is whether it is on."""
    for script in getattr(p.scripts, "alwayson_scripts", ()):
        if script.title() == title:
            return any(p.script_args[script.args_from : script.args_to][:1])
    return False
