"""A running request: the hooks, what is set on its own objects, and each of its passes on the host's sampler."""
