"""Runs the cells of an X/Y/Z plot one after another and lays their pictures out as grids."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from PIL import Image

from modules import errors, flavour_xyz, images, shared
from modules.processing import (
    Processed,
    StableDiffusionProcessingTxt2Img,
    create_infotext,
    process_images,
)
from modules.shared import opts, state
from modules.xyz_axis import NOTHING, Axis, AxisInfo

TITLE = "X/Y/Z plot"
_SEEDS = ("Seed", "Var. seed")
_LISTS = ("images", "all_prompts", "all_seeds", "infotexts")
Place = tuple[int, int, int]


@dataclass
class Along:
    """One axis of a plot. `text` is what infotexts tell of its values."""

    letter: str
    axis: Axis
    values: list[Any]
    text: str
    vary_seeds: bool

    def fix_seeds(self) -> None:
        if self.axis.label in _SEEDS:
            self.values = [random.randrange(4294967294) if x in (None, "", -1) else x for x in self.values]

    def notes(self, fixed_seeds: bool) -> dict[str, str]:
        letter, label = self.letter, self.axis.label
        if label == NOTHING:
            return {}
        found = {f"{letter} Type": label, f"{letter} Values": self.text}
        if fixed_seeds and label in _SEEDS:
            found[f"Fixed {letter} Values"] = ", ".join(map(str, self.values))
        return found

    def legends(self, p: Any) -> list[list[images.GridAnnotation]]:
        labels = [self.axis.format_value(p, self.axis, x) for x in self.values]
        return [[images.GridAnnotation(label)] for label in labels]


@dataclass(frozen=True)
class Wanted:
    """What becomes of a plot's pictures and seeds."""

    draw_legend: bool
    include_lone_images: bool
    include_sub_grids: bool
    no_fixed_seeds: bool
    margin_size: int


def nesting(costs: Sequence[float]) -> tuple[int, int, int]:
    """Places of the axes x, y, z from the outermost loop to the innermost. z, y, x, unless one alone costs most: then
    that one, and of the others the later one unless the earlier costs more.
    """
    highest = max(costs)
    if list(costs).count(highest) > 1:
        return 2, 1, 0
    first = list(costs).index(highest)
    earlier, later = (k for k in range(3) if k != first)
    return (first, earlier, later) if costs[earlier] > costs[later] else (first, later, earlier)


def total_steps(p: Any, axes: Sequence[Along]) -> int:
    """For the console's progress bar."""
    cells = math.prod(len(x.values) for x in axes)

    def summed(label: str) -> int | None:
        along = next((x for x in axes if x.axis.label == label), None)
        return None if along is None else sum(along.values) * cells // max(1, len(along.values))

    swept = summed("Steps")
    steps = p.steps * cells if swept is None else swept
    if isinstance(p, StableDiffusionProcessingTxt2Img) and p.enable_hr:
        second = summed("Hires steps")
        if second is None:
            second = p.hr_second_pass_steps * cells if p.hr_second_pass_steps else steps
        steps += second
    return steps * p.n_iter


class _Results:
    """What the cells gave, laid into a copy of the first one's result. Of a cell with several pictures the first is
    kept, which may be its grid.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.processed: Any = None

    def keep(self, index: int, cell: Any) -> None:
        if self.processed is None:
            self.processed = copy(cell)
            for name in _LISTS:
                setattr(self.processed, name, [None] * self.count)
            self.processed.index_of_first_image = 1
        kept = self.processed
        if not cell.images:
            kept.images[index] = self._blank()
            return
        found = (cell.images[0], cell.prompt, cell.seed, cell.infotexts[0])
        for name, value in zip(_LISTS, found, strict=True):
            getattr(kept, name)[index] = value

    def _blank(self) -> Image.Image:
        """As the very first cell's picture, where there is one."""
        first = self.processed.images[0]
        if first is None:
            return Image.new("P", (self.processed.width, self.processed.height))
        return Image.new(first.mode, first.size)


class Sweep:
    """One plot of a request `p`, which stays as it is; its cells are shallow copies."""

    def __init__(self, p: Any, axes: tuple[Along, Along, Along], wanted: Wanted) -> None:
        self.p, self.axes, self.wanted = p, axes, wanted
        self.sizes = tuple(len(x.values) for x in axes)
        self.infotexts: list[str | None] = [None] * (1 + self.sizes[2])

    def run(self) -> Any:
        try:
            legends = [x.legends(self.p) for x in self.axes]
            processed = self._process_cells()
            if processed is None:
                print("The X/Y/Z plot has no cells: an axis has no values")
                return Processed(self.p, [])
            grids = self._grids(processed.images, legends)
        finally:
            flavour_xyz.restore_models()
        self._put_first(processed, grids)
        if opts.grid_save:
            self._save(processed)
        if not self.wanted.include_sub_grids:
            for name in _LISTS:
                del getattr(processed, name)[1 : 1 + self.sizes[2]]
        return processed

    def announce(self) -> None:
        """To the console, and to whoever reads `state`."""
        (x, y, z), p = self.sizes, self.p
        steps, pictures = total_steps(p, self.axes), p.n_iter * p.batch_size
        print(f"X/Y/Z plot: {z} x ({x} x {y}) cells of {pictures} image(s), {steps} steps in all")
        shared.total_tqdm.updateTotal(steps)
        for along in self.axes:
            setattr(state, f"xyz_plot_{along.letter.lower()}", AxisInfo(along.axis, along.values))

    def _places(self) -> Iterator[Place]:
        order = nesting([x.axis.cost for x in self.axes])
        for indices in itertools.product(*(range(self.sizes[k]) for k in order)):
            along = dict(zip(order, indices, strict=True))
            yield along[0], along[1], along[2]

    def _process_cells(self) -> Any:
        """None where there are no cells."""
        count = math.prod(self.sizes)
        results = _Results(count)
        state.job_count = count * self.p.n_iter
        for ix, iy, iz in self._places():
            index = ix + self.sizes[0] * (iy + self.sizes[1] * iz)
            state.job = f"{index + 1} out of {count}"
            results.keep(index, self._cell((ix, iy, iz)))
        return results.processed

    def _cell(self, place: Place) -> Any:
        if state.interrupted or state.stopping_generation:
            return self._nothing()
        pc = copy(self.p)
        pc.styles = pc.styles[:]
        for along, i in zip(self.axes, place, strict=True):
            along.axis.apply(pc, along.values[i], along.values)
        self._vary_seed(pc, place)
        try:
            result = process_images(pc)
        except Exception as fault:  # the other cells are made all the same
            errors.display(fault, "generating image for xyz plot")
            result = self._nothing()
        self._describe(pc, place)
        return result

    def _nothing(self) -> Any:
        return Processed(self.p, [], self.p.seed, "")

    def _vary_seed(self, pc: Any, place: Place) -> None:
        stride = 1
        for along, i in zip(self.axes, place, strict=True):
            if along.vary_seeds:
                pc.seed += i * stride
                stride *= len(along.values)

    def _describe(self, pc: Any, place: Place) -> None:
        """Infotexts of the grids: a sub-grid's from its first cell, the whole one's from the very first. They need what
        a request sets up, so a first cell that failed before that ends the plot.
        """
        (x, y, z), fixed = self.axes, not self.wanted.no_fixed_seeds
        if place[:2] != (0, 0):
            return
        self._note(pc, 1 + place[2], {"Script": TITLE, **x.notes(fixed), **y.notes(fixed)})
        if place[2] == 0:
            self._note(pc, 0, z.notes(fixed))

    def _note(self, pc: Any, which: int, notes: dict[str, str]) -> None:
        """The cells share what `pc.extra_generation_params` was, so it is replaced."""
        pc.extra_generation_params = {**pc.extra_generation_params, **notes}
        self.infotexts[which] = create_infotext(pc, pc.all_prompts, pc.all_seeds, pc.all_subseeds)

    def _grids(self, cells: list[Image.Image], legends: list[Any]) -> list[Image.Image]:
        """The whole one, then one for each value of z."""
        (columns, rows, _), (above, beside, titles) = self.sizes, legends
        area = columns * rows
        subs = []
        for start in range(0, len(cells), area):
            part = cells[start : start + area]
            subs.append(self._grid(part, rows, above, beside, self.wanted.margin_size))
        return [self._grid(subs, 1, titles, [[images.GridAnnotation()]], 0), *subs]

    def _grid(self, pictures: list[Image.Image], rows: int, above: Any, beside: Any, margin: int) -> Image.Image:
        grid = images.image_grid(pictures, rows=rows)
        if not self.wanted.draw_legend:
            return grid
        width, height = max(x.width for x in pictures), max(x.height for x in pictures)
        return images.draw_grid_annotations(grid, width, height, above, beside, margin)

    def _put_first(self, processed: Any, grids: list[Image.Image]) -> None:
        """The grids before the cells. Prompts and seeds have no entry for the whole grid, as on the host."""
        firsts = range(0, len(processed.images), self.sizes[0] * self.sizes[1])
        for name in ("all_prompts", "all_seeds"):
            cells = getattr(processed, name)
            setattr(processed, name, [*(cells[i] for i in firsts), *cells])
        processed.infotexts = [*self.infotexts, *processed.infotexts]
        processed.images = [*grids, *(processed.images if self.wanted.include_lone_images else ())]

    def _save(self, processed: Any) -> None:
        subs = self.sizes[2] if self.wanted.include_sub_grids and self.sizes[2] > 1 else 0
        for g in range(1 + subs):
            first = max(0, g - 1)
            images.save_image(
                processed.images[g],
                self.p.outpath_grids,
                "xyz_grid",
                info=processed.infotexts[g],
                extension=opts.grid_format,
                prompt=processed.all_prompts[first],
                seed=processed.all_seeds[first],
                grid=True,
                p=processed,
            )
