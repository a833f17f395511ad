"""Routes that say what may be sent, what may be chosen and what would run."""
