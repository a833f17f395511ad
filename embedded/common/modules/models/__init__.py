"""Numerical solvers beside k-diffusion's, under the host's names."""
