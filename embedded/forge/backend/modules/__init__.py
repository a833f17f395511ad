"""The model as samplers see it."""
