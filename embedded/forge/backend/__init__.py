"""Models as Forge holds them: patchers under a memory management of their own, and the sampling that asks for them."""
