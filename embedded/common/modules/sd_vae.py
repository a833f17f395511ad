"""Files of a VAE apart from the checkpoint's: there are none here, on Forge because they are further modules."""

from __future__ import annotations

vae_dict: dict[str, str] = {}
loaded_vae_file: str | None = None


def get_loaded_vae_name() -> str | None:
    return loaded_vae_file


def get_loaded_vae_hash() -> str | None:
    return None


def refresh_vae_list() -> None:
    """Nothing to list."""
