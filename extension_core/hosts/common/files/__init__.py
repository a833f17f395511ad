"""What the host's folders hold, and what its loaded checkpoint is."""
