"""Files of a VAE apart from the checkpoint's: there are none here, on Forge because they are further modules."""

loaded_vae_file: str | None = None


def get_loaded_vae_name() -> str | None:
    return loaded_vae_file
