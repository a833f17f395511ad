"""Text from # to the end of a line of a prompt is left out."""

from __future__ import annotations

import re
from typing import Any

from modules import script_callbacks, scripts, shared


def strip_comments(text: str) -> str:
    text = re.sub("(^|\n)#[^\n]*(\n|$)", "\n", text)
    return re.sub("#[^\n]*(\n|$)", "\n", text)


class ScriptStripComments(scripts.Script):
    def title(self) -> str:
        return "Comments"

    def show(self, is_img2img: bool) -> Any:
        return scripts.AlwaysVisible

    def process(self, p: Any, *args: Any) -> None:
        if not shared.opts.enable_prompt_comments:
            return
        names = ["all_prompts", "all_negative_prompts", "main_prompt", "main_negative_prompt"]
        if getattr(p, "enable_hr", False):
            names += ["all_hr_prompts", "all_hr_negative_prompts", "hr_prompt", "hr_negative_prompt"]
        for name in names:
            value = getattr(p, name)
            setattr(p, name, [strip_comments(x) for x in value] if isinstance(value, list) else strip_comments(value))


def before_token_counter(params: script_callbacks.BeforeTokenCounterParams) -> None:
    if shared.opts.enable_prompt_comments:
        params.prompt = strip_comments(params.prompt)


script_callbacks.on_before_token_counter(before_token_counter)
