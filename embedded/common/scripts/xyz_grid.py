"""The X/Y/Z plot: one request, made again for each combination of values along up to three axes.

Extensions find this file's module in `scripts.scripts_data` and add to its `axis_options` before the page is built. It
is executed afresh by "Reload UI", which forgets what they added, so the classes are this file's own.
"""

from __future__ import annotations

from typing import Any

from modules import flavour_xyz, processing, scripts
from modules.shared import opts
from modules.xyz_apply import (
    apply_checkpoint,
    apply_face_restore,
    apply_field,
    apply_order,
    apply_override,
    apply_prompt,
    apply_size,
    apply_styles,
    apply_uni_pc_order,
    apply_vae,
    boolean_choice,
    checkpoints,
    confirm_checkpoints,
    confirm_checkpoints_or_none,
    confirm_range,
    confirm_samplers,
    do_nothing,
    find_vae,
    samplers,
    samplers_for_img2img,
    schedules,
    styles,
    upscalers,
    vaes,
)
from modules.xyz_axis import (
    NOTHING,
    Axis,
    AxisInfo,
    format_nothing,
    format_remove_path,
    format_value,
    format_value_add_label,
    format_value_join_list,
)
from modules.xyz_page import PlotPage
from modules.xyz_sweep import TITLE, Along, Sweep, Wanted
from modules.xyz_values import csv_string_to_list_strip, list_to_csv_string, read_values, str_permutations
from PIL import Image


class AxisOption(Axis):
    """An axis of both tabs."""


class AxisOptionImg2Img(AxisOption):
    is_img2img = True


class AxisOptionTxt2Img(AxisOption):
    is_img2img = False


_plain = {"format_value": format_value}
_models = {"format_value": format_remove_path, "cost": 1.0}
_boxes = {"choices": boolean_choice(reverse=True)}


def _flag(setting: str) -> Any:
    return apply_override(setting, boolean=True)


axis_options = [
    AxisOption(NOTHING, str, do_nothing, format_value=format_nothing),
    AxisOption("Seed", int, apply_field("seed")),
    AxisOption("Var. seed", int, apply_field("subseed")),
    AxisOption("Var. strength", float, apply_field("subseed_strength")),
    AxisOption("Steps", int, apply_field("steps")),
    AxisOptionTxt2Img("Hires steps", int, apply_field("hr_second_pass_steps")),
    AxisOption("CFG Scale", float, apply_field("cfg_scale")),
    *(AxisOption(label, float, apply_field(field)) for label, field in flavour_xyz.GUIDANCE_FIELDS),
    AxisOptionImg2Img("Image CFG Scale", float, apply_field("image_cfg_scale")),
    AxisOption("Prompt S/R", str, apply_prompt, **_plain),
    AxisOption("Prompt order", str_permutations, apply_order, format_value=format_value_join_list),
    AxisOptionTxt2Img(
        "Sampler", str, apply_field("sampler_name"), confirm=confirm_samplers, choices=samplers, **_plain
    ),
    AxisOptionTxt2Img(
        "Hires sampler", str, apply_field("hr_sampler_name"), confirm=confirm_samplers, choices=samplers_for_img2img
    ),
    AxisOptionImg2Img(
        "Sampler", str, apply_field("sampler_name"), confirm=confirm_samplers, choices=samplers_for_img2img, **_plain
    ),
    AxisOption("Checkpoint name", str, apply_checkpoint, confirm=confirm_checkpoints, choices=checkpoints, **_models),
    AxisOption("Negative Guidance minimum sigma", float, apply_field("s_min_uncond")),
    AxisOption("Sigma Churn", float, apply_field("s_churn")),
    AxisOption("Sigma min", float, apply_field("s_tmin")),
    AxisOption("Sigma max", float, apply_field("s_tmax")),
    AxisOption("Sigma noise", float, apply_field("s_noise")),
    AxisOption("Schedule type", str, apply_field("scheduler"), choices=schedules),
    AxisOption("Schedule min sigma", float, apply_override("sigma_min")),
    AxisOption("Schedule max sigma", float, apply_override("sigma_max")),
    AxisOption("Schedule rho", float, apply_override("rho")),
    AxisOption("Beta schedule alpha", float, apply_override("beta_dist_alpha")),
    AxisOption("Beta schedule beta", float, apply_override("beta_dist_beta")),
    AxisOption("Eta", float, apply_field("eta")),
    AxisOption("Clip skip", int, apply_override("CLIP_stop_at_last_layers")),
    AxisOption("Denoising", float, apply_field("denoising_strength")),
    AxisOption("Initial noise multiplier", float, apply_field("initial_noise_multiplier")),
    AxisOption("Extra noise", float, apply_override("img2img_extra_noise")),
    AxisOptionTxt2Img("Hires upscaler", str, apply_field("hr_upscaler"), choices=upscalers),
    AxisOptionImg2Img("Cond. Image Mask Weight", float, apply_field("inpainting_mask_weight")),
    AxisOption("VAE", str, apply_vae, cost=0.7, choices=vaes),
    AxisOption("Styles", str, apply_styles, choices=styles),
    AxisOption("UniPC Order", int, apply_uni_pc_order, cost=0.5),
    AxisOption("Face restore", str, apply_face_restore, **_plain),
    AxisOption("Token merging ratio", float, apply_override("token_merging_ratio")),
    AxisOption("Token merging ratio high-res", float, apply_override("token_merging_ratio_hr")),
    AxisOption("Always discard next-to-last sigma", str, _flag("always_discard_next_to_last_sigma"), **_boxes),
    AxisOption("SGM noise multiplier", str, _flag("sgm_noise_multiplier"), **_boxes),
    AxisOption(
        "Refiner checkpoint",
        str,
        apply_field("refiner_checkpoint"),
        confirm=confirm_checkpoints_or_none,
        choices=lambda: ["None", *checkpoints()],
        **_models,
    ),
    AxisOption("Refiner switch at", float, apply_field("refiner_switch_at")),
    AxisOption("RNG source", str, apply_override("randn_source"), choices=lambda: ["GPU", "CPU", "NV"]),
    AxisOption(
        "FP8 mode",
        str,
        apply_override("fp8_storage"),
        cost=0.9,
        choices=lambda: ["Disable", "Enable for SDXL", "Enable"],
    ),
    AxisOption("Size", str, apply_size),
]


def _refuse_oversize(p: Any, axes: tuple[Along, ...]) -> None:
    cells = 1
    for along in axes:
        cells *= len(along.values)
    grid_mp, limit = round(cells * p.width * p.height / 1000000), opts.img_max_size_mp
    assert grid_mp < limit, (
        f"Error: Resulting grid would be too large ({grid_mp} MPixels) (max configured size is {limit} MPixels)"
    )
    Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit is below this one


class Script(scripts.Script):
    def title(self) -> str:
        return TITLE

    def ui(self, is_img2img: bool) -> list[Any]:
        """`type` of an axis is compared exactly, so a class derived by an extension must say of which tab it is."""
        self.current_axis_options = [x for x in axis_options if type(x) is AxisOption or x.is_img2img == is_img2img]
        page = PlotPage(self.current_axis_options, self.elem_id)
        self.infotext_fields = page.infotext_fields()
        return page.inputs

    def run(
        self,
        p: Any,
        x_type: int | None,
        x_values: str,
        x_values_dropdown: list[str],
        y_type: int | None,
        y_values: str,
        y_values_dropdown: list[str],
        z_type: int | None,
        z_values: str,
        z_values_dropdown: list[str],
        draw_legend: bool,
        include_lone_images: bool,
        include_sub_grids: bool,
        no_fixed_seeds: bool,
        vary_seeds_x: bool,
        vary_seeds_y: bool,
        vary_seeds_z: bool,
        margin_size: int,
        csv_mode: bool,
    ) -> Any:
        if not no_fixed_seeds:
            processing.fix_seed(p)
        if not opts.return_grid:
            p.batch_size = 1

        def along(letter: str, kind: int | None, text: str, chosen: list[str], vary_seeds: bool) -> Along:
            axis = self.current_axis_options[kind or 0]
            told = list_to_csv_string(chosen) if axis.is_chosen(csv_mode) else text
            return Along(letter, axis, read_values(p, axis, text, chosen, csv_mode), told, vary_seeds)

        axes = (
            along("X", x_type, x_values, x_values_dropdown, vary_seeds_x),
            along("Y", y_type, y_values, y_values_dropdown, vary_seeds_y),
            along("Z", z_type, z_values, z_values_dropdown, vary_seeds_z),
        )
        _refuse_oversize(p, axes)
        if not no_fixed_seeds:
            for each in axes:
                each.fix_seeds()
        wanted = Wanted(draw_legend, include_lone_images, include_sub_grids, no_fixed_seeds, margin_size)
        sweep = Sweep(p, axes, wanted)
        sweep.announce()
        return sweep.run()


__all__ = [
    "AxisInfo",
    "AxisOption",
    "AxisOptionImg2Img",
    "AxisOptionTxt2Img",
    "Script",
    "axis_options",
    "boolean_choice",
    "confirm_range",
    "csv_string_to_list_strip",
    "find_vae",
    "format_value_add_label",
    "list_to_csv_string",
]
