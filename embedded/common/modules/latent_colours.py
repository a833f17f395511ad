"""The colour in -1..1 of a latent pixel as a sum over its four channels, for previews that cost nothing."""

from __future__ import annotations

# Least squares over Stable Diffusion 1.x's autoencoder, as previews have used them since the first WebUIs.
STABLE_DIFFUSION = [[0.298, 0.207, 0.208], [0.187, 0.286, 0.173], [-0.158, 0.189, 0.264], [-0.184, -0.271, -0.473]]
# The same over the trained pair's; from pair/previews.json.
PAIR = [[-0.5583, -0.4062, -0.2067], [-0.0999, 0.1663, 0.3305], [-0.2302, -0.1181, -0.0154], [0.1994, 0.0912, -0.0592]]

_PAIR_WIDTH = 32


def of_width(channels: int) -> list[list[float]]:
    """Of the autoencoder whose first layer is so wide: Stable Diffusion's is 128, the pair's 32."""
    return PAIR if channels == _PAIR_WIDTH else STABLE_DIFFUSION
