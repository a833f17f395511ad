"""Adapter to AUTOMATIC1111 (read and tried with 1.10.1)."""
