"""A user's checkpoint as diffusers' and transformers' networks, and a student back in the form that hosts read."""
