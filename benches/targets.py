"""What figures are to reach; standard library only, so that no part that fails keeps the table from being printed."""

from __future__ import annotations

AT_MOST = {
    "hybrid_over_bare_calls": 1.01,
    "exchange_ms_per_1000_tensors": 2.0,
    "second_load_over_host_load": 1.0,
    "forge_hybrid_over_bare_calls": 1.01,
    "forge_switch_ms": 5.0,
    "forge_second_load_over_host_load": 1.0,
    "lora_merges_second_image": 0.0,
    "forge_lora_merges_second_image": 0.0,
    "bytes_grown_after_200": 0.0,
    "forge_bytes_grown_after_200": 0.0,
    "hybrid_over_distilled": 1.02,
    "forge_hybrid_over_distilled": 1.02,
    "a1111_residency_sdxl_base_in_8_bits_gb": 2.7,
    "forge_residency_sdxl_base_in_8_bits_gb": 2.7,
    "recorder_on_over_off": 1.01,
    "forge_recorder_on_over_off": 1.01,
    "panel_live_over_off": 1.05,
    "forge_panel_live_over_off": 1.05,
}
AT_LEAST = {"base_over_hybrid": 14.0, "forge_base_over_hybrid": 14.0}
EXACTLY = {"extra_bytes_over_differing_bytes": 1.0}


def judged(name: str, value: float) -> str:
    """The target in words and whether it is met; empty where a figure has none."""
    for sign, targets, met in (
        ("<=", AT_MOST, lambda wanted: value <= wanted),
        (">=", AT_LEAST, lambda wanted: value >= wanted),
        ("=", EXACTLY, lambda wanted: value == wanted),
    ):
        if name in targets:
            return f"(target {sign} {targets[name]:g}: {'met' if met(targets[name]) else 'MISSED'})"
    return ""


def table(figures: dict[str, object]) -> str:
    """The figures, each with its target where it has one; those of a quick bench are not held against it."""
    width = max(map(len, figures))
    rows = []
    for name, value in figures.items():
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        target = judged(name, value) if isinstance(value, (int, float)) and not figures.get("quick") else ""
        rows.append(f"{name:<{width}}  {shown}  {target}".rstrip())
    return "\n".join(rows)
