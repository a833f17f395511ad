"""A checkpoint as a whole."""
