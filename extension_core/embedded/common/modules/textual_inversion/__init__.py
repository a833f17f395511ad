"""Textual inversion."""
