"""What a request gathers while it runs; no caller gives any of it."""

from __future__ import annotations

from typing import Any


class RequestState:
    """Values before the first step; each is set on the request itself."""

    scripts_value: Any = None
    script_args_value: Any = None
    scripts_setup_complete: bool = False
    sampler: Any = None
    is_using_inpainting_conditioning: bool = False
    paste_to: Any = None
    is_hr_pass: bool = False
    c: Any = None
    uc: Any = None
    rng: Any = None
    step_multiplier: int = 1
    color_corrections: Any = None
    all_prompts: Any = None
    all_negative_prompts: Any = None
    all_seeds: Any = None
    all_subseeds: Any = None
    iteration: int = 0
    main_prompt: Any = None
    main_negative_prompt: Any = None
    prompts: Any = None
    negative_prompts: Any = None
    seeds: Any = None
    subseeds: Any = None
    extra_network_data: Any = None
    user: Any = None
    sd_model_name: Any = None
    sd_model_hash: Any = None
    sd_vae_name: Any = None
    sd_vae_hash: Any = None
    is_api: bool = False
