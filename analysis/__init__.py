"""What the numbers say. Reads caches and rows from the store; never a model, a tokenizer or a dataset."""
