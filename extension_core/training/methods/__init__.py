"""Methods of distillation under one interface: each says at which states it trains and what its losses are there."""
