"""The hosts' batch of img2img, which is not played here (extensions import this module)."""
