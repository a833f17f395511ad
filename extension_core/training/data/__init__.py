"""A user's pictures and prompts, encoded once."""
