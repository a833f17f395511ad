"""The hosts' X/Y/Z plot: an axis for each option, and what becomes of a cell."""
