"""Adapter to Forge (read and tried with dfdcbab6)."""
