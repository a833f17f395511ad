"""A running request: what it sets on the host's processing object, and each of its passes on the host's sampler."""
