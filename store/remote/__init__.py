"""Artifacts on object storage: what is there, how it gets there and back, and who makes what."""
