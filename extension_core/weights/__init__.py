"""The second set of weights: reading files, matching names, exchanging tensors. Torch, but no host."""
