"""Samplers of this host beyond what both flavours have: before those of timesteps, and at the end."""

from __future__ import annotations

from typing import Any

from backend.modules import k_diffusion_extra

further_k_samplers: list[tuple[str, Any, list[str], dict[str, Any]]] = [
    ("HeunPP2", k_diffusion_extra.sample_heunpp2, ["heunpp2"], {}),
    ("IPNDM", k_diffusion_extra.sample_ipndm, ["ipndm"], {}),
    ("IPNDM_V", k_diffusion_extra.sample_ipndm_v, ["ipndm_v"], {}),
    ("DEIS", k_diffusion_extra.sample_deis, ["deis"], {}),
]
last_samplers: list[tuple[str, Any, list[str], dict[str, Any]]] = [
    ("DDPM", k_diffusion_extra.sample_ddpm, ["ddpm"], {}),
]
