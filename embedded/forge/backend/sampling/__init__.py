"""One step: conditioning into batches, the model's call, guidance."""
