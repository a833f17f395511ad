"""python -m embedded.demo --url http://127.0.0.1:7860 --out DIR

Asks a running WebUI, which has the trained pair and this extension, for the same seeds three ways and writes the grids
base.png, distilled.png, hybrid.png and the measures demo.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from embedded.monsters import free_attributes, parse_prompt
from embedded.monsters.reader import Reader, load_reader
from extension_core.measures import Measured, PromptImages, image_grid, json_number, measure, share_of_gap, text_table

from .client import DemoError, Generated, WebUI
from .modes import BASE, DISTILLED, MODES, PROMPTS, SCRIPT, Mode

GRID_SEEDS = 8
FIRST_SEED = 1000


def summarize(measured: Measured, seconds: float, unet_calls: int) -> dict[str, Any]:
    """One way's entry of demo.json."""
    return {
        "seconds": round(seconds, 3),
        "unet_calls": unet_calls,
        "adherence": json_number(measured.adherence.estimate),
        "diversity": {
            "attributes": json_number(measured.entropy.estimate),
            "perceptual": json_number(measured.perceptual.estimate),
        },
        "intervals": measured.as_json(),
    }


def gap_shares(results: dict[str, Measured], name: str) -> dict[str, Any]:
    """How much of the diversity between distilled and base `name` has, with intervals."""
    base, distilled, other = (results[key] for key in ("base", "distilled", name))
    return {
        key: share_of_gap(getattr(base, what), getattr(distilled, what), getattr(other, what)).interval().as_json()
        for key, what in (("attributes", "entropy"), ("perceptual", "perceptual"))
    }


def _about(prompts: tuple[str, ...], seeds: int) -> dict[str, Any]:
    return {
        "prompts": list(prompts),
        "seeds": seeds,
        "seconds": "from request to answer, all prompts and seeds together, models already loaded",
        "unet_calls": "for one image, as its infotext says",
        "adherence": "share of images in which the attribute reader sees one whole monster with all that is asked",
        "attributes": "mean entropy in nats (Miller-Madow) of each attribute that the prompt leaves open, among images "
        "that follow it, mean over prompts",
        "perceptual": "mean pairwise (1 - SSIM) / 2 at 64, 32 and 16 pixels among images that follow the prompt",
        "intervals": "95 % bootstrap, seeds drawn again within each prompt",
    }


def _grid(mode: Mode, answer: Generated, prompt: str, out: Path) -> None:
    calls = mode.unet_calls(answer.infotext)
    labels = [f"seed {FIRST_SEED + index}" for index in range(min(GRID_SEEDS, len(answer.images)))]
    note = f"{mode.caption}: {calls} U-Net calls"
    image_grid(answer.images[: len(labels)], 4, prompt, note, labels).save(out / f"{mode.name}.png")


def run_mode(
    webui: WebUI,
    mode: Mode,
    reader: Reader,
    prompts: tuple[str, ...],
    seeds: int,
    out: Path,
) -> tuple[Measured, dict[str, Any]]:
    """Generate and measure one way; writes its grid. Returns the measures and the entry of demo.json."""
    webui.txt2img(mode.payload(prompts[0], FIRST_SEED, 1))
    sets: list[PromptImages] = []
    seconds, calls = 0.0, 0
    for prompt in prompts:
        answer = webui.txt2img(mode.payload(prompt, FIRST_SEED, seeds))
        seconds, calls = seconds + answer.seconds, mode.unet_calls(answer.infotext)
        images = answer.images[:seeds]
        required = parse_prompt(prompt)
        values = reader.read(images).values
        sets.append(PromptImages(prompt, images, values, required, free_attributes(required)))
        if prompt == prompts[0]:
            _grid(mode, answer, prompt, out)
    _say(f"{mode.name}: {len(prompts) * seeds} images, {calls} U-Net calls each, {seconds:.1f} s")
    measured = measure(sets)
    return measured, summarize(measured, seconds, calls)


def demo(url: str, out: Path, prompts: tuple[str, ...], seeds: int) -> dict[str, Any]:
    """Run every way, write grids and demo.json into `out`, and return the JSON's content."""
    webui, reader = WebUI(url), load_reader()
    webui.require_script(SCRIPT)
    webui.checkpoint_title(DISTILLED)
    title = webui.checkpoint_title(BASE)
    out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Measured] = {}
    report: dict[str, Any] = {}
    with webui.checkpoint_kept():
        if webui.checkpoint() != title:
            webui.load_checkpoint(title)
        for mode in MODES:
            results[mode.name], report[mode.name] = run_mode(webui, mode, reader, prompts, seeds, out)
    for name in results:
        if name not in ("base", "distilled"):
            report[name]["share_of_gap"] = gap_shares(results, name)
    report["about"] = _about(prompts, seeds)
    (out / "demo.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    _say(text_table(results))
    return report


def _say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m embedded.demo", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:7860", help="the WebUI's address")
    parser.add_argument("--out", type=Path, required=True, help="folder for the grids and demo.json")
    parser.add_argument("--seeds", type=int, default=64, help="seeds of each prompt (default: 64)")
    parser.add_argument("--prompts", nargs="+", default=list(PROMPTS), help="ambiguous prompts; grids show the first")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error(f"--seeds is {options.seeds}, but diversity needs 2 or more")
    try:
        demo(options.url, options.out, tuple(options.prompts), options.seeds)
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    _say(f"written to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
