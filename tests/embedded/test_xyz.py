"""The host's X/Y/Z plot: its arguments, its axes, the cells and what becomes of them."""

from __future__ import annotations

import ast
import base64
import csv
import inspect
import io
import itertools
import json
import os
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from tests.embedded import servers
from tests.embedded.conftest import FLAVOUR, Answer, Host
from tests.waiting import PATIENCE

On = Callable[[str], Callable[[Callable[..., Any]], Callable[..., Any]]]
SCRIPT = "x/y/z plot"
Axis = tuple[str, Any]
"""A label and its values: text as it is typed, or a list of choices."""
OPTIONS = {
    "draw_legend": False, "include_lone_images": True, "include_sub_grids": False, "no_fixed_seeds": False,
    "vary_seeds_x": False, "vary_seeds_y": False, "vary_seeds_z": False, "margin_size": 0, "csv_mode": False,
}  # fmt: skip
REAL = os.environ.get(f"DD_{FLAVOUR.upper()}_DIR")


def _labels(host: Host, tab: str = "txt2img") -> list[str]:
    infos = [x for x in host.get("script-info") if x["name"] == SCRIPT]
    return next(x["args"][0]["choices"] for x in infos if x["is_img2img"] == (tab == "img2img"))


def _script(host: Host) -> Any:
    from modules import scripts

    return scripts.scripts_txt2img.script(SCRIPT)


def _module(host: Host) -> Any:
    from modules import scripts

    [data] = [x for x in scripts.scripts_data if Path(x.path).name == "xyz_grid.py"]
    return data.module


def _arguments(labels: list[str], *axes: Axis, **options: Any) -> list[Any]:
    args: list[Any] = []
    for label, values in [*axes, *[("Nothing", "")] * (3 - len(axes))]:
        typed = isinstance(values, str)
        args += [labels.index(label), values if typed else "", [] if typed else values]
    return [*args, *{**OPTIONS, **options}.values()]


def plot(host: Host, *axes: Axis, options: dict[str, Any] | None = None, **request: Any) -> Answer:
    args = _arguments(_script_labels(host), *axes, **(options or {}))
    return host.txt2img(**{"steps": 2, "script_name": SCRIPT, "script_args": args, **request})


def _script_labels(host: Host) -> list[str]:
    """Those of tests included, which the API's list does not have."""
    return [x.label for x in _script(host).current_axis_options]


@pytest.fixture
def own_axis(host: Host, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Adds an axis to the tab's."""

    def add(*args: Any, **kwargs: Any) -> None:
        script = _script(host)
        option = _module(host).AxisOption(*args, **kwargs)
        monkeypatch.setattr(script, "current_axis_options", [*script.current_axis_options, option])

    return add


def _parameters(text: str) -> dict[str, Any]:
    from modules import infotext_utils

    return infotext_utils.parse_generation_parameters(text)


def _seeds(answer: Answer) -> list[int]:
    return [int(_parameters(text)["Seed"]) for text in answer.info["infotexts"][1:]]


def _of_real_host(name: str) -> ast.Module:
    assert REAL is not None
    return ast.parse((Path(REAL) / "scripts" / name).read_text(encoding="utf-8"))


def test_it_is_found_as_on_the_hosts(host: Host) -> None:
    module = _module(host)
    assert _script(host).title() == "X/Y/Z plot"
    assert module.__name__ == module.Script.__module__ == "xyz_grid.py"
    names = ["self", "label", "type", "apply", "format_value", "confirm", "cost", "choices", "prepare"]
    assert list(inspect.signature(module.AxisOption.__init__).parameters) == names
    option = module.AxisOption("Mine", int, module.apply_field("seed"))
    assert (option.confirm, option.cost, option.choices, option.prepare) == (None, 0.0, None, None)
    assert option.format_value(None, option, 0.1 + 0.2) == "Mine: 0.3"
    assert [x(*["a", str, print]).is_img2img for x in (module.AxisOptionImg2Img, module.AxisOptionTxt2Img)] == [1, 0]


@pytest.mark.parametrize(("tab", "other"), [("txt2img", "Image CFG Scale"), ("img2img", "Hires steps")])
def test_each_tab_has_its_axes(host: Host, tab: str, other: str) -> None:
    labels = _labels(host, tab)
    assert labels[:5] == ["Nothing", "Seed", "Var. seed", "Var. strength", "Steps"]
    assert labels.count("Sampler") == 1
    assert other not in labels
    assert ("Distilled CFG Scale" in labels) == (FLAVOUR == "forge")
    assert labels[-1] == "Size"


@pytest.mark.skipif(REAL is None, reason="no real host's folder is named")
def test_the_axes_are_the_real_hosts(host: Host) -> None:
    """Label, tab, type, cost and whether there are choices, in its order."""
    tree = _of_real_host("xyz_grid.py")
    listed = next(
        x.value for x in tree.body if isinstance(x, ast.Assign) and ast.unparse(x.targets[0]) == "axis_options"
    )
    assert isinstance(listed, ast.List)
    real = []
    for call in listed.elts:
        assert isinstance(call, ast.Call)
        keywords = {x.arg: x.value for x in call.keywords}
        cost = ast.literal_eval(keywords["cost"]) if "cost" in keywords else 0.0
        kind = (ast.unparse(call.func), ast.literal_eval(call.args[0]), ast.unparse(call.args[1]), cost)
        real.append((*kind, "choices" in keywords, "confirm" in keywords))
    mine = [
        (type(x).__name__, x.label, x.type.__name__, x.cost, x.choices is not None, x.confirm is not None)
        for x in _module(host).axis_options
    ]
    assert mine == real


def test_arguments_are_the_hosts(host: Host) -> None:
    names = list(inspect.signature(_script(host).run).parameters)[1:]
    axes = [f"{axis}_{part}" for axis in "xyz" for part in ("type", "values", "values_dropdown")]
    assert names == [*axes, *OPTIONS]
    info = next(x for x in host.get("script-info") if x["name"] == SCRIPT)
    assert len(info["args"]) == len(names) == 18
    if REAL:
        run = next(x for x in ast.walk(_of_real_host("xyz_grid.py")) if getattr(x, "name", "") == "run")
        assert isinstance(run, ast.FunctionDef)
        assert names == [x.arg for x in run.args.args[2:]]


INTS = {
    "1-5": [1, 2, 3, 4, 5],
    " 1 - 5 (+2) , 9": [1, 3, 5, 9],
    "1-3 [5]": [1, 1, 2, 2, 3],
    "5-1 (-1)": [5, 4, 3],
    "3-1": [],
    "-2-1": [-2, -1, 0, 1],
    '"1","2-3", ': [1, 2, 3],
    "": [],
}
FLOATS = {
    "1-3": [1.0, 2.0, 3.0],
    "0.5-1.5 (+0.5)": [0.5, 1.0, 1.5],
    "1-2 [5]": [1.0, 1.25, 1.5, 1.75, 2.0],
    "1.5, 2": [1.5, 2.0],
    "1e1-12": [10.0, 11.0, 12.0],
}
STRINGS = {"a, b": ["a", "b"], '"a, b",c': ["a, b", "c"], 'a "b, c': ['a "b', "c"], "1-3": ["1-3"]}
PERMUTATIONS = {"a,b": [("a", "b"), ("b", "a")]}


def _read(host: Host, kind: Any, text: str) -> list[Any]:
    from modules.xyz_values import read_values

    return read_values(None, _module(host).AxisOption("Mine", kind, None), text, [], False)


@pytest.mark.parametrize(
    ("kind", "table"), [(int, INTS), (float, FLOATS), (str, STRINGS), ("permutations", PERMUTATIONS)]
)
def test_values_are_read_as_on_the_host(host: Host, kind: Any, table: dict[str, list[Any]]) -> None:
    """The expectations are what the real script makes of these texts."""
    kind = _module(host).str_permutations if kind == "permutations" else kind
    found = {text: _read(host, kind, text) for text in table}
    assert found == table
    assert {type(x) for values in found.values() for x in values} == {type(x) for v in table.values() for x in v}


@pytest.mark.parametrize(("kind", "text"), [(int, "1.5"), (int, "1-5 (2)"), (float, "1-2-3"), (float, "x")])
def test_what_is_no_number_is_refused(host: Host, kind: Any, text: str) -> None:
    with pytest.raises(ValueError, match=r"could not convert|invalid literal"):
        _read(host, kind, text)


def _real_reader() -> Callable[..., list[Any]]:
    """The real script's own reading, out of its `run`, and what that needs."""
    wanted = []
    for node in ast.walk(_of_real_host("xyz_grid.py")):
        name = ast.unparse(node.targets[0]) if isinstance(node, ast.Assign) else getattr(node, "name", None)
        if re.match(r"re_range|process_axis$|csv_string_to_list_strip$|str_permutations$", name or ""):
            wanted.append(node)
    space: dict[str, Any] = {"re": re, "np": np, "csv": csv, "StringIO": io.StringIO, "csv_mode": False}
    space |= {"chain": itertools.chain, "permutations": itertools.permutations}
    helpers_first = sorted(wanted, key=lambda node: getattr(node, "name", "") == "process_axis")
    exec(compile(ast.Module(helpers_first, []), "xyz_grid.py", "exec"), space)
    return space["process_axis"]


@pytest.mark.skipif(REAL is None, reason="no real host's folder is named")
@pytest.mark.parametrize("kind", [int, float])
def test_the_grammar_is_the_real_hosts(host: Host, kind: Any) -> None:
    ends = ["1", "-2", "+3", "0.5", ".5", "2.", "1e1", " 4 ", "x", "- 1"]
    extras = ["", " (+2)", "(-1)", " (2)", "(+0.5)", " [3]", "[ 2 ]", "[3.]", "(+1) "]
    texts = [f"{a}-{b}{c}" for a, b, c in itertools.product(ends, ends, extras)]
    reader, option = _real_reader(), _module(host).AxisOption("Mine", kind, None)

    def outcome(read: Callable[[str], Any]) -> Any:
        try:
            return read(text)
        except Exception as error:  # noqa: BLE001 (whatever the real one raises)
            return type(error)

    read_some = 0
    for text in texts:
        expected = outcome(lambda x: reader(option, x, []))
        read_some += isinstance(expected, list)
        assert outcome(lambda x: _read(host, kind, x)) == expected, text
    assert read_some > 50


def test_cells_are_the_requests_made_one_by_one(host: Host) -> None:
    """The grid first, then the cells along x, then y, then z."""
    answer = plot(host, ("CFG Scale", "3, 5"), ("Steps", "1-2"), ("Seed", "7,8"))
    assert [x.shape[:2] for x in answer.images] == [(128, 256), *[(64, 64)] * 8]
    singles = [host.txt2img(cfg_scale=c, steps=n, seed=s) for s in (7, 8) for n in (1, 2) for c in (3, 5)]
    assert [np.array_equal(a, b.images[0]) for a, b in zip(answer.images[1:], singles, strict=True)] == [True] * 8
    texts = answer.info["infotexts"]
    assert texts[1:] == [x.infotext for x in singles]
    grid = answer.images[0]
    for k, single in enumerate(answer.images[1:]):
        x, y = 64 * (k % 2 + 2 * (k // 4)), 64 * (k // 2 % 2)
        assert np.array_equal(grid[y : y + 64, x : x + 64], single), k
    assert answer.info["index_of_first_image"] == 1


def test_infotexts_of_grids_say_what_was_swept(host: Host) -> None:
    axes = (("CFG Scale", "3, 5"), ("Sampler", ["Euler", "Heun"]), ("Seed", "7,-1"))
    answer = plot(host, *axes, options={"include_sub_grids": True})
    whole, *subs = map(_parameters, answer.info["infotexts"][:3])
    for told in (whole, *subs):
        assert (told["Script"], told["X Type"], told["X Values"]) == ("X/Y/Z plot", "CFG Scale", "3, 5")
        assert (told["Y Type"], told["Y Values"]) == ("Sampler", "Euler,Heun")
        assert "Fixed X Values" not in told
    assert (whole["Z Type"], whole["Z Values"]) == ("Seed", "7,-1")
    first, second = map(int, whole["Fixed Z Values"].split(", "))
    assert (first, second) == (int(subs[0]["Seed"]), int(subs[1]["Seed"]))
    assert first == 7
    assert second > 0
    assert all("Z Type" not in told for told in subs)
    assert all("Script" not in text for text in answer.info["infotexts"][3:])


@pytest.mark.parametrize(
    ("lone", "subs", "sizes"),
    [
        (False, False, [(64, 384)]),
        (True, False, [(64, 384), *[(64, 64)] * 6]),
        (False, True, [(64, 384), *[(64, 128)] * 3]),
        (True, True, [(64, 384), *[(64, 128)] * 3, *[(64, 64)] * 6]),
    ],
)
def test_which_pictures_are_returned(host: Host, lone: bool, subs: bool, sizes: list[Any]) -> None:
    options = {"include_lone_images": lone, "include_sub_grids": subs}
    answer = plot(host, ("Steps", "1-2"), ("Nothing", ""), ("Seed", "1-3"), options=options)
    assert [x.shape[:2] for x in answer.images] == sizes


def test_legends_stand_above_and_beside_the_cells(host: Host) -> None:
    axes = (("CFG Scale", "3, 5, 7"), ("Steps", "1-2"))
    plain = plot(host, *axes).images[0]
    told = plot(host, *axes, options={"draw_legend": True, "margin_size": 10}).images[0]
    left, top = 48, told.shape[0] - plain.shape[0] - 10
    assert top > 0
    assert told.shape[1] == plain.shape[1] + left + 20
    for column, row in itertools.product(range(3), range(2)):
        x, y = left + 74 * column, top + 74 * row
        cell = plain[64 * row : 64 * row + 64, 64 * column : 64 * column + 64]
        assert np.array_equal(told[y : y + 64, x : x + 64], cell)
        assert told[:top, x : x + 64].min() < 128
    assert np.all(told[top:, left + 64 : left + 74] == 255)
    assert told[top : top + 64, :left].min() < 128


def test_a_side_without_texts_has_no_room(host: Host) -> None:
    [grid] = plot(host, ("Nothing", ""), options={"draw_legend": True, "include_lone_images": False}).images
    assert grid.shape[:2] == (64, 64)


def test_long_legends_are_wrapped_and_words_narrowed(host: Host) -> None:
    from modules.images import GridAnnotation, draw_grid_annotations

    def drawn(text: str, **more: Any) -> np.ndarray:
        above, beside = [[GridAnnotation(text, **more)]], [[GridAnnotation()]]
        return np.asarray(draw_grid_annotations(Image.new("RGB", (200, 200)), 200, 200, above, beside))

    one, three = drawn("word"), drawn("words " * 12)
    assert three.shape[0] > one.shape[0] + 20
    dark = (drawn("w" * 25)[:-200] < 128).any(axis=(0, 2))
    assert dark.any()
    assert not dark[[0, -1]].any()
    assert (drawn("word", is_active=False)[:-200] == 0x99).any()
    assert not (one[:-200] == 0).all()


@pytest.mark.parametrize(
    ("costs", "order"),
    [
        ((0, 0, 0), "zyx"),
        ((1, 0, 0), "xzy"),
        ((2, 1, 0), "xyz"),
        ((0, 1, 0), "yzx"),
        ((1, 2, 0), "yxz"),
        ((0, 0, 1), "zyx"),
        ((1, 0, 2), "zxy"),
        ((1, 1, 0), "zyx"),
    ],
)
def test_the_costliest_axis_changes_least_often(
    host: Host, on: On, own_axis: Callable[..., None], costs: tuple[float, ...], order: str
) -> None:
    made: list[dict[str, str]] = []

    def note(name: str) -> Callable[..., None]:
        return lambda p, value, values: p.__dict__.update({name: value})

    for name, cost in zip("xyz", costs, strict=True):
        own_axis(f"Own {name}", str, note(name), cost=cost)

    on("process")(lambda p, *_: made.append({name: getattr(p, name) for name in "xyz"}))
    on("process_batch")(lambda p, *_: p.prompts.clear())
    plot(host, *((f"Own {name}", "0,1") for name in "xyz"), steps=1)
    assert ["".join(cell[name] for name in order) for cell in made] == [f"{n:03b}" for n in range(8)]


def test_a_value_that_is_not_confirmed_ends_it_before_anything_runs(host: Host, own_axis: Callable[..., None]) -> None:
    seen = []

    def confirm(p: Any, values: list[Any]) -> None:
        seen.append((p.steps, values))
        raise RuntimeError("Not these.")

    own_axis("Own", int, None, confirm=confirm)
    answer = plot(host, ("Own", "1-2"))
    assert answer.status == 500
    assert "Not these." in str(answer.body)
    assert seen == [(2, [1, 2])]
    unknown = plot(host, ("Steps", "1,2"), ("Sampler", "Euler,Nix"), options={"csv_mode": True})
    assert "Unknown sampler: Nix" in str(unknown.body)
    assert "before_process" not in host.names()


def test_prepare_reads_the_text_in_the_place_of_commas(host: Host, own_axis: Callable[..., None]) -> None:
    own_axis("Own", int, lambda p, value, values: setattr(p, "steps", value), prepare=lambda text: text.split("+"))
    answer = plot(host, ("Own", "1+2-3"))
    assert [_parameters(x)["Steps"] for x in answer.info["infotexts"][1:]] == ["1", "2", "3"]
    assert _parameters(answer.info["infotexts"][0])["X Values"] == "1+2-3"


def test_values_are_chosen_or_typed(host: Host) -> None:
    chosen = plot(host, ("Sampler", ["Euler", "Heun"]))
    typed = plot(host, ("Sampler", "Euler, Heun"), options={"csv_mode": True})
    assert chosen.equals(typed)
    assert not np.array_equal(chosen.images[1], chosen.images[2])
    told = [_parameters(x.info["infotexts"][0])["X Values"] for x in (chosen, typed)]
    assert told == ["Euler,Heun", "Euler, Heun"]


def test_cells_are_shallow_copies_with_styles_of_their_own(host: Host, on: On, own_axis: Callable[..., None]) -> None:
    requests: list[Any] = []

    def apply(p: Any, value: str, values: list[str]) -> None:
        p.styles.append(value)
        p.override_settings["eta_ancestral"] = float(value)

    own_axis("Own", str, apply)
    on("before_process")(lambda p, *_: requests.append((p, list(p.styles), dict(p.override_settings))))
    plot(host, ("Own", "0.5,1"), override_settings={"s_noise": 1.0})
    assert [styles for _, styles, _ in requests] == [["0.5"], ["1"]]
    assert requests[0][0] is not requests[1][0]
    assert requests[0][0].override_settings is requests[1][0].override_settings
    assert requests[1][2] == {"s_noise": 1.0, "eta_ancestral": 1.0}


def test_what_apply_raises_ends_the_plot(host: Host) -> None:
    answer = plot(host, ("Prompt S/R", "blue, green"))
    assert answer.status == 500
    assert "Prompt S/R did not find blue in prompt or negative prompt." in str(answer.body)


def test_a_failing_cell_is_blank_and_reported(host: Host, on: On, capsys: pytest.CaptureFixture[str]) -> None:
    @on("process")
    def fail(p: Any, *_: Any) -> None:
        if p.seed == 6:
            p.sample = lambda **kwargs: 1 / 0

    answer = plot(host, ("Seed", "5-7"))
    assert [x.shape for x in answer.images[1:]] == [(64, 64, 3)] * 3
    assert not answer.images[2].any()
    assert [np.array_equal(answer.images[k], host.txt2img(seed=s, steps=2).images[0]) for k, s in ((1, 5), (3, 7))]
    assert [x is None for x in answer.info["infotexts"]] == [False, False, True, False]
    assert answer.info["all_seeds"] == [5, None, 7]
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_first_cell_that_fails_while_sampling_leaves_the_others(host: Host, on: On) -> None:
    @on("process")
    def fail(p: Any, *_: Any) -> None:
        if p.seed == 5:
            p.sample = lambda **kwargs: 1 / 0

    answer = plot(host, ("Seed", "5-6"), ("Steps", "1-2"))
    assert answer.status == 200
    assert [bool(x.any()) for x in answer.images[1:]] == [False, True, False, True]
    assert _parameters(answer.info["infotexts"][0])["X Type"] == "Seed"


def test_a_first_cell_that_fails_before_it_is_set_up_ends_the_plot(host: Host) -> None:
    answer = plot(host, ("Seed", "5-6"), refiner_checkpoint="nix", refiner_switch_at=0.5)
    assert answer.status == 500
    assert "NoneType" in str(answer.body)


def test_interrupting_keeps_what_is_there(host: Host, on: On) -> None:
    whole = plot(host, ("Seed", "5-8"), steps=4)
    started: list[int] = []
    on("process")(lambda p, *_: started.append(p.seed))

    @on("cfg_denoiser")
    def interrupt(params: Any) -> None:
        from modules import shared

        if len(started) == 2 and params.sampling_step == 1:
            shared.state.interrupt()

    answer = plot(host, ("Seed", "5-8"), steps=4)
    assert started == [5, 6]
    assert np.array_equal(answer.images[1], whole.images[1])
    assert answer.images[2].any()
    assert not np.array_equal(answer.images[2], whole.images[2])
    assert not answer.images[3].any()
    assert not answer.images[4].any()
    assert answer.images[0].shape == whole.images[0].shape


def test_no_cells_no_pictures(host: Host) -> None:
    answer = plot(host, ("Steps", ""))
    assert (answer.status, answer.images) == (200, [])


def test_seeds_are_fixed_unless_asked_otherwise(host: Host) -> None:
    fixed = _seeds(plot(host, ("Steps", "1,1"), seed=-1))
    assert fixed[0] == fixed[1] > 0
    free = _seeds(plot(host, ("Steps", "1,1"), seed=-1, options={"no_fixed_seeds": True}))
    assert free[0] != free[1]


def test_seeds_vary_along_the_axes_that_are_ticked(host: Host) -> None:
    axes = (("Steps", "1-2"), ("CFG Scale", "3,4,5"), ("Var. seed", "1,2"))

    def seeds(*letters: str) -> list[int]:
        return _seeds(plot(host, *axes, seed=10, options={f"vary_seeds_{x}": True for x in letters}))

    assert seeds("x", "y", "z") == list(range(10, 22))
    assert seeds("y") == [10, 10, 11, 11, 12, 12] * 2
    assert seeds("x", "z") == [10, 11] * 3 + [12, 13] * 3


def test_a_cell_keeps_the_first_of_its_pictures(host: Host, on: On) -> None:
    """Its grid where it has one; batches are of one picture where grids are not shown."""
    from modules import shared

    single = plot(host, ("Seed", "5"), batch_size=2)
    first, _second = host.txt2img(seed=5, steps=2, batch_size=2).images[-2:]
    assert np.array_equal(single.images[1], first)
    assert plot(host, ("Seed", "5"), batch_size=2, save_images=True).images[1].shape[:2] == (64, 128)
    shared.opts.data["return_grid"] = False
    sizes: list[int] = []
    on("process")(lambda p, *_: sizes.append(p.batch_size))
    assert plot(host, ("Seed", "5"), batch_size=2, save_images=True).images[1].shape[:2] == (64, 64)
    assert sizes == [1]


def test_the_state_tells_what_is_swept(host: Host, on: On) -> None:
    from modules import shared

    told = []

    @on("process")
    def look(p: Any, *_: Any) -> None:
        state = shared.state
        axes = (state.xyz_plot_x, state.xyz_plot_y, state.xyz_plot_z)
        told.append((state.job, state.job_count, [(x.axis.label, x.values) for x in axes]))

    plot(host, ("Steps", "1-2"), ("Nothing", ""), ("Seed", "4"))
    axes = [("Steps", [1, 2]), ("Nothing", [0]), ("Seed", [4])]
    assert told == [("1 out of 2", 2, axes), ("2 out of 2", 2, axes)]


def test_grids_are_announced_and_saved(host: Host) -> None:
    from modules import script_callbacks, shared

    laid_out: list[tuple[int, int, int]] = []
    script_callbacks.on_image_grid(lambda params: laid_out.append((len(params.imgs), params.cols, params.rows)))
    folder = Path(shared.opts.outdir_txt2img_grids)
    before = set(folder.rglob("xyz_grid-*.png"))
    try:
        answer = plot(
            host, ("Steps", "1-2"), ("CFG Scale", "3-5"), ("Seed", "1-2"), options={"include_sub_grids": True}
        )
    finally:
        script_callbacks.remove_current_script_callbacks()
        script_callbacks.callback_map["callbacks_image_grid"].clear()
        script_callbacks.ordered_callbacks_map.clear()
    assert laid_out == [(6, 2, 3), (6, 2, 3), (2, 2, 1)]
    saved = sorted(set(folder.rglob("xyz_grid-*.png")) - before)
    assert len(saved) == 3
    for path, picture, text in zip(saved, answer.images, answer.info["infotexts"], strict=False):
        with Image.open(path) as image:
            assert np.array_equal(np.asarray(image.convert("RGB")), picture)
            assert image.info["parameters"] == text
    shared.opts.data["grid_save"] = False
    plot(host, ("Steps", "1-2"))
    assert len(set(folder.rglob("xyz_grid-*.png")) - before) == 3


def test_a_grid_too_large_is_refused(host: Host) -> None:
    answer = plot(host, ("Seed", "1-60000"))
    assert answer.status == 500
    assert "Resulting grid would be too large (246 MPixels)" in str(answer.body)
    assert "before_process" not in host.names()


def test_checkpoints_are_swept_and_the_selected_one_is_back(host: Host) -> None:
    answer = plot(host, ("Seed", "1-2"), ("Checkpoint name", ["base.safetensors", "second.safetensors"]))
    singles = [
        host.txt2img(seed=s, steps=2, override_settings={"sd_model_checkpoint": name})
        for name in ("base", "second")
        for s in (1, 2)
    ]
    assert [np.array_equal(a, b.images[0]) for a, b in zip(answer.images[1:], singles, strict=True)] == [True] * 4
    last = plot(host, ("Checkpoint name", ["base.safetensors", "second.safetensors"]))
    assert last.status == 200
    from modules import sd_models, shared

    if FLAVOUR == "forge":
        assert sd_models.model_data.forge_loading_parameters["checkpoint_info"].name_for_extra == "base"
    else:
        assert shared.sd_model.sd_checkpoint_info.name_for_extra == "base"
    assert sd_models.get_closet_checkpoint_match(shared.opts.sd_model_checkpoint).name_for_extra == "base"
    assert host.txt2img(seed=1, steps=2).equals(singles[0])


HIRES: dict[str, Any] = {"enable_hr": True, "hr_upscaler": "Latent", "denoising_strength": 0.6}
if FLAVOUR == "forge":
    HIRES["hr_additional_modules"] = ["Use same choices"]
HOSTS_AXES: list[tuple[str, Any, dict[str, Any]]] = [
    ("Var. strength", "0.5", {"subseed_strength": 0.5, "subseed": 3}),
    ("Prompt S/R", "red, blue", {"prompt": "a blue cat"}),
    ("Sampler", ["DDIM"], {"sampler_name": "DDIM"}),
    ("Schedule type", ["Karras"], {"scheduler": "Karras"}),
    ("Negative Guidance minimum sigma", "3", {"s_min_uncond": 3.0}),
    ("Schedule rho", "2", {"override_settings": {"rho": 2.0}, "scheduler": "Karras"}),
    ("Clip skip", "2", {"override_settings": {"CLIP_stop_at_last_layers": 2}}),
    ("Refiner checkpoint", ["second.safetensors"], {"refiner_checkpoint": "second", "refiner_switch_at": 0.5}),
    ("RNG source", ["NV"], {"override_settings": {"randn_source": "NV"}}),
    ("Size", "64x128", {"width": 64, "height": 128}),
    ("Hires steps", "1", {"hr_second_pass_steps": 1, **HIRES}),
    ("Always discard next-to-last sigma", ["True"], {"override_settings": {"always_discard_next_to_last_sigma": True}}),
]


@pytest.mark.parametrize(("label", "values", "request_fields"), HOSTS_AXES, ids=lambda x: x if type(x) is str else "")
def test_an_axis_is_its_field_of_the_request(
    host: Host, label: str, values: Any, request_fields: dict[str, Any]
) -> None:
    swept_alone = {"Refiner checkpoint": "refiner_switch_at", "Hires steps": " ".join(HIRES)}
    others = {"Var. strength": "subseed", "Schedule rho": "scheduler", **swept_alone}.get(label, "").split()
    base = {"prompt": "a red cat", "scheduler": "Automatic", **{name: request_fields[name] for name in others}}
    without = host.txt2img(**base)  # first: the host does not take back an override of what was never saved
    answer = plot(host, (label, values), **{**base, "steps": 4})
    single = host.txt2img(**{**base, **request_fields})
    assert np.array_equal(answer.images[-1], single.images[0])
    assert not np.array_equal(answer.images[-1], without.images[0])


def test_prompts_are_replaced_and_put_into_every_order(host: Host) -> None:
    replaced = plot(host, ("Prompt S/R", "cat, dog"), prompt="a cat, red", negative_prompt="cat food")
    texts = [text.split("\nSteps")[0] for text in replaced.info["infotexts"][1:]]
    assert texts == ["a cat, red\nNegative prompt: cat food", "a dog, red\nNegative prompt: dog food"]
    ordered = plot(host, ("Prompt order", "one, two"), prompt="a one with two eyes")
    assert [x.split("\n")[0] for x in ordered.info["infotexts"][1:]] == ["a one with two eyes", "a two with one eyes"]


def test_on_img2img(host: Host) -> None:
    picture = host.txt2img().images[0]
    args = _arguments(_labels(host, "img2img"), ("Denoising", "0.3-0.9 [3]"))
    answer = host.img2img(picture, script_name=SCRIPT, script_args=args)
    singles = [host.img2img(picture, denoising_strength=x) for x in (0.3, 0.6, 0.9)]
    assert [np.array_equal(a, b.images[0]) for a, b in zip(answer.images[1:], singles, strict=True)] == [True] * 3
    assert len({x.tobytes() for x in answer.images[1:]}) == 3


def test_an_infotext_pastes_back(host: Host) -> None:
    """Script, types and values; a list of choices comes to the text and to the drop-down. On Forge text comes to no box
    that was empty when the page was built for the first time.
    """
    from modules import infotext_utils

    axes = (("Seed", "3-4, 9"), ("Sampler", ["Euler", "Heun"]))
    params = _parameters(plot(host, *axes).info["infotexts"][0])
    controls = dict(zip(["x", "x_values", "x_list", "y", "y_values", "y_list"], _script(host).controls, strict=False))
    fields = {id(x.component): x for x in infotext_utils.paste_fields["txt2img"]["fields"]}
    pasted = {
        name: infotext_utils._field_update(*fields[id(control)], params).get("value")
        for name, control in controls.items()
    }
    typed = (None, None) if FLAVOUR == "forge" else ("3-4, 9", "Euler,Heun")
    assert pasted == {
        "x": "Seed",
        "x_values": typed[0],
        "x_list": ["3-4", "9"],
        "y": "Sampler",
        "y_values": typed[1],
        "y_list": ["Euler", "Heun"],
    }
    dropdown = next(x for x in fields.values() if x.component.elem_id == "script_list")
    assert infotext_utils._field_update(*dropdown, params)["value"] == "X/Y/Z plot"


PAGE = {
    "x_type", "x_values", "y_type", "y_values", "z_type", "z_values", "draw_legend", "no_fixed_seeds", "vary_seeds_x",
    "vary_seeds_y", "vary_seeds_z", "include_lone_images", "include_sub_grids", "csv_mode", "margin_size",
}  # fmt: skip


def test_ids_on_the_page_are_the_hosts(host: Host) -> None:
    from modules import scripts

    with gr.Blocks() as demo:
        _script(host).ui(False)
    ids = {getattr(x, "elem_id", None) for x in demo.blocks.values()} - {None}
    own = {f"script_txt2img_xyz_plot_{name}" for name in PAGE}
    fills = {f"xyz_grid_fill_{x}_tool_button" for x in "xyz"}
    swaps = {f"{x}_grid_swap_axes_button" for x in ("xy", "yz", "xz")}
    assert ids == own | fills | swaps | {"axis_options", "swap_axes"}
    img2img = scripts.scripts_img2img.script(SCRIPT)
    assert img2img.elem_id("x_type") == "script_img2img_xyz_plot_x_type"


def test_the_page_moves_values_between_text_and_drop_down(host: Host) -> None:
    from modules.xyz_page import AxisRow

    labels = _script_labels(host)
    with gr.Blocks():
        row = AxisRow("X", _script(host).current_axis_options, 1, lambda name: name)
    sampler, seed = labels.index("Sampler"), labels.index("Seed")

    def part(update: Any, *names: str) -> list[Any]:
        return [update.get(name) for name in names]

    fill, text, chosen = row.select(sampler, "Euler, Nix, Heun", [], False)
    assert part(fill, "visible") == [True]
    assert part(text, "visible", "value") == [False, ""]
    assert part(chosen, "visible", "value") == [True, ["Euler", "Heun"]]
    assert "DDIM" in chosen["choices"]
    fill, text, chosen = row.select(sampler, "", ["Euler", "Nix", "Heun"], True)
    assert part(text, "visible", "value") == [True, "Euler,Heun"]
    assert part(chosen, "visible", "value") == [False, []]
    fill, text, chosen = row.select(seed, "1-3", [], False)
    assert part(fill, "visible") == [False]
    assert part(text, "visible", "value") == [True, "1-3"]
    assert row.select(None, "", [], False)[0]["visible"] is False


def test_two_axes_change_places(host: Host) -> None:
    with gr.Blocks() as demo:
        _script(host).ui(False)
    functions = demo.fns.values() if isinstance(demo.fns, dict) else demo.fns
    swaps = [x.fn for x in functions if getattr(x.fn, "__name__", "") == "swapped"]
    labels = _script_labels(host)
    given = (labels.index("Seed"), "1-2", [], labels.index("Sampler"), "", ["Euler"])
    assert [swap(*given) for swap in swaps] == [("Sampler", "", ["Euler"], "Seed", "1-2", [])] * 3


def test_the_only_script_shows_when_it_is_chosen(host: Host) -> None:
    """gradio takes a list as the value of a single output."""
    from modules.script_runner import ScriptRunner

    runner = ScriptRunner()
    runner.selectable_scripts = [_module(host).Script()]
    with gr.Blocks() as demo:
        runner.setup_ui()
    functions = demo.fns.values() if isinstance(demo.fns, dict) else demo.fns
    [select] = [x.fn for x in functions if getattr(x.fn, "__name__", "") == "select_script"]
    assert [select(chosen)["visible"] for chosen in (1, 0, None)] == [True, False, False]


SWEEPS: dict[str, tuple[list[Axis], dict[str, Any], dict[str, Any]]] = {
    "three axes": ([("CFG Scale", "3-5 [2]"), ("Steps", "1-2"), ("Seed", "4,5")], {"include_sub_grids": True}, {}),
    "legends": ([("CFG Scale", "3,5"), ("Sampler", ["Euler"])], {"draw_legend": True, "margin_size": 8}, {}),
    "no lone images": ([("Steps", "2,1"), ("Nothing", ""), ("Seed", "4,5")], {"include_lone_images": False}, {}),
    "checkpoints": ([("Checkpoint name", ["second.safetensors", "base.safetensors"]), ("Seed", "1,2")], {}, {}),
    "settings": ([("Clip skip", "1,2"), ("RNG source", ["CPU", "NV"])], {}, {}),
    "varied seeds": ([("Steps", "1-2"), ("Nothing", ""), ("Eta", "0,1")], {f"vary_seeds_{x}": True for x in "xz"}, {}),
    "prompts": ([("Prompt order", "red, cat"), ("Prompt S/R", "a, the")], {"draw_legend": True}, {}),
    "sizes": ([("Size", "64x128, nix, 128x64")], {"draw_legend": True}, {}),
    "batches": ([("Seed", "4")], {}, {"batch_size": 2, "n_iter": 2, "save_images": True}),
    "typed": ([("Sampler", 'Euler, "heun"'), ("Denoising", "0.5")], {"csv_mode": True}, {}),
    "unknown": ([("Sampler", ["Nix"])], {}, {}),
    "nothing": ([("Steps", "")], {}, {}),
}


@pytest.mark.skipif(REAL is None, reason="no real host's folder is named")
@pytest.mark.parametrize("name", SWEEPS)
def test_the_real_script_makes_the_same_of_it(host: Host, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The real file, run by this host in the place of its own."""
    from modules import script_loading

    assert REAL is not None
    axes, options, request = SWEEPS[name]
    mine = plot(host, *axes, options=options, subseed=9, **request)
    real = script_loading.load_module(str(Path(REAL) / "scripts" / "xyz_grid.py")).Script()
    real.is_img2img = False
    with gr.Blocks():
        real.ui(False)
    monkeypatch.setattr(_script(host), "run", real.run)
    theirs = plot(host, *axes, options=options, subseed=9, **request)
    if mine.status != 200:
        assert {**mine.body, "detail": ""} == {**theirs.body, "detail": ""}
        return
    assert mine.equals(theirs)
    assert {**mine.info, "job_timestamp": ""} == {**theirs.info, "job_timestamp": ""}


@pytest.mark.skipif(REAL is None, reason="no real host's folder is named")
def test_legends_are_drawn_as_by_the_real_host(host: Host) -> None:
    """Its function out of its source, with the font that is here."""
    from modules import images, shared
    from PIL import ImageColor, ImageDraw

    assert REAL is not None
    tree = ast.parse((Path(REAL) / "modules" / "images.py").read_text(encoding="utf-8"))
    wanted = [x for x in tree.body if getattr(x, "name", "") in ("GridAnnotation", "draw_grid_annotations")]
    space: dict[str, Any] = {"Image": Image, "ImageDraw": ImageDraw, "ImageColor": ImageColor, "opts": shared.opts}
    exec(compile(ast.Module(wanted, []), "images.py", "exec"), {**space, "get_font": images.get_font}, space)
    space["draw_grid_annotations"].__globals__.update(space)
    noise = np.random.default_rng(0).integers(0, 255, (3 * 150, 2 * 200, 3), np.uint8)
    texts = ["", "CFG Scale: 3.5", "many words that need more than a single line", "oneverylongwordthatdoesnotfitthere"]

    def drawn(kind: Any, draw: Any, above: Any, beside: Any, active: bool) -> np.ndarray:
        columns, rows = ([[kind(text, active)] for text in side] for side in (above, beside))
        return np.asarray(draw(Image.fromarray(noise), 200, 150, columns, rows, 6))

    for above, beside, active in itertools.product([texts[:2], texts[2:]], [[""] * 3, texts[1:]], [True, False]):
        mine = drawn(images.GridAnnotation, images.draw_grid_annotations, above, beside, active)
        theirs = drawn(space["GridAnnotation"], space["draw_grid_annotations"], above, beside, active)
        assert np.array_equal(mine, theirs), (above, beside, active)


EXTENSION = """
from modules import script_callbacks, scripts

def add_axis():
    for data in scripts.scripts_data:
        if data.path.endswith("xyz_grid.py"):
            add = data.module.axis_options.append
            add(data.module.AxisOption("[Mine] CFG", float, data.module.apply_field("cfg_scale")))
            add(data.module.AxisOptionImg2Img("[Mine] img2img", int, data.module.do_nothing))

script_callbacks.on_before_ui(add_axis)
"""


class Page(servers.Server):
    def ask(self, path: str, payload: Any = None) -> Any:
        body = None if payload is None else json.dumps(payload).encode()
        request = urllib.request.Request(self.url + path, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            text = answer.read()
        return json.loads(text) if text.startswith((b"{", b"[")) else text

    def labels(self, tab: str) -> list[str]:
        infos = [x for x in self.ask("/sdapi/v1/script-info") if x["name"] == SCRIPT]
        return next(x["args"][0]["choices"] for x in infos if x["is_img2img"] == (tab == "img2img"))

    def pictures(self, **request: Any) -> list[np.ndarray]:
        request = {"prompt": "a red cat", "seed": 1, "steps": 1, "width": 64, "height": 64, **request}
        found = self.ask("/sdapi/v1/txt2img", {"sampler_name": "Euler", **request})["images"]
        return [np.asarray(Image.open(io.BytesIO(base64.b64decode(x))).convert("RGB")) for x in found]


def test_an_extensions_axes_outlive_reload_ui(model_folder: Path, tmp_path: Path) -> None:
    """They are added each time before the page is built, to a list that has forgotten them."""
    scripts = tmp_path / "extensions" / "mine" / "scripts"
    scripts.mkdir(parents=True)
    (scripts / "mine.py").write_text(EXTENSION)
    options = ("--ckpt-dir", str(model_folder), "--extensions", str(tmp_path / "extensions"), "--without-self")
    with servers.serving(Page, tmp_path, FLAVOUR, *options, "--threads", "1", "--api-server-stop") as page:
        for reloads in range(3):
            if reloads:
                page.ask("/sdapi/v1/server-restart", {})
                page.wait(lambda text, starts=reloads + 1: text.count("Startup time:") == starts)
            labels = page.labels("txt2img")
            assert labels[-2:] == ["Size", "[Mine] CFG"]
            assert page.labels("img2img")[-3:] == ["Size", "[Mine] CFG", "[Mine] img2img"]
            cells = page.pictures(script_name=SCRIPT, script_args=_arguments(labels, ("[Mine] CFG", "3, 5")))
            singles = [page.pictures(cfg_scale=cfg)[0] for cfg in (3, 5)]
            assert [np.array_equal(a, b) for a, b in zip(cells[1:], singles, strict=True)] == [True, True]
