"""DT-Visualization: what each model believes the image will be, recorded while it samples (arXiv 2503.10637)."""
