"""Training of small latent diffusion models and of few-step students of them: ``python -m embedded.distill``."""
