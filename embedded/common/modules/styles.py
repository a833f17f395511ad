"""Saved prompts: read from CSV files, merged into a prompt, and found again in a pasted one."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from modules import errors


class PromptStyle(NamedTuple):
    name: str
    prompt: str | None
    negative_prompt: str | None
    path: str | None = None


def merge_prompts(style_prompt: str, prompt: str) -> str:
    if "{prompt}" in style_prompt:
        return style_prompt.replace("{prompt}", prompt)
    return ", ".join(part for part in (prompt.strip(), style_prompt.strip()) if part)


def apply_styles_to_prompt(prompt: str, styles: Sequence[str | None]) -> str:
    for style in styles:
        prompt = merge_prompts(style or "", prompt)
    return prompt


def _without_style(style: str | None, prompt: str) -> str | None:
    """The prompt that, merged with `style`, gives `prompt`; None where it does not contain the style."""
    text, stripped = (style or "").strip(), prompt.strip()
    if "{prompt}" in text:
        left, _, right = text.partition("{prompt}")
        inside = stripped.startswith(left) and stripped.endswith(right)
        return stripped[len(left) : len(stripped) - len(right)] if inside else None
    if not stripped.endswith(text):
        return None
    rest = stripped[: len(stripped) - len(text)]
    return rest.removesuffix(", ")


def _style(row: dict[str, str], path: Path) -> PromptStyle:
    """ "text" is what the prompt's column was called in the oldest files."""
    column = "prompt" if "prompt" in row else "text"
    return PromptStyle(row["name"], row[column], row.get("negative_prompt", ""), str(path))


class StyleDatabase:
    def __init__(self, paths: list[str]) -> None:
        self.no_style = PromptStyle("None", "", "", None)
        self.styles: dict[str, PromptStyle] = {}
        self.paths = paths
        self.default_path = Path(paths[0])
        self.reload()

    def reload(self) -> None:
        self.styles.clear()
        for path in map(Path, self.paths):
            if path.is_file():
                self._load(path)

    def _load(self, path: Path) -> None:
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                for row in csv.DictReader(file, skipinitialspace=True):
                    if row and not row["name"].startswith("#"):
                        self.styles[row["name"]] = _style(row, path)
        except Exception:  # a broken file must not keep the host from starting
            errors.report(f"{path} cannot be read as a table of styles", exc_info=True)

    def _named(self, names: Sequence[str]) -> list[PromptStyle]:
        """An unknown name is a style that adds nothing."""
        return [self.styles.get(name, self.no_style) for name in names]

    def get_style_prompts(self, styles: Sequence[str]) -> list[str | None]:
        return [style.prompt for style in self._named(styles)]

    def get_negative_style_prompts(self, styles: Sequence[str]) -> list[str | None]:
        return [style.negative_prompt for style in self._named(styles)]

    def apply_styles_to_prompt(self, prompt: str, styles: Sequence[str]) -> str:
        return apply_styles_to_prompt(prompt, self.get_style_prompts(styles))

    def apply_negative_styles_to_prompt(self, prompt: str, styles: Sequence[str]) -> str:
        return apply_styles_to_prompt(prompt, self.get_negative_style_prompts(styles))

    def extract_styles_from_prompt(self, prompt: str, negative_prompt: str) -> tuple[list[str], str, str]:
        """Names of the styles merged into the two prompts, outermost last, and the prompts without them."""
        found: list[str] = []
        remaining = [x for x in self.styles.values() if x.prompt or x.negative_prompt]
        while True:
            for style in remaining:
                positive = _without_style(style.prompt, prompt)
                negative = _without_style(style.negative_prompt, negative_prompt)
                if positive is not None and negative is not None:
                    prompt, negative_prompt = positive, negative
                    found.append(style.name)
                    remaining.remove(style)
                    break
            else:
                return found[::-1], prompt, negative_prompt
