"""UniPC."""
