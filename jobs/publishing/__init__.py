"""Publishing: a checkpoint as a plain Hugging Face folder with a model card, on this disk or on the hub."""
