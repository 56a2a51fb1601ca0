"""Attention maps: what each head does, and how two checkpoints differ."""
