"""VAE files are further modules of the checkpoint here (modules_forge.main_entry); these names say that none is loaded
apart from it.
"""

from __future__ import annotations

vae_dict: dict[str, str] = {}
loaded_vae_file: str | None = None


def get_loaded_vae_name() -> str | None:
    return None


def get_loaded_vae_hash() -> str | None:
    return None


def refresh_vae_list() -> None:
    """Nothing to list."""


def reload_vae_weights(sd_model: object = None, vae_file: object = None) -> None:
    """Does nothing on this host."""
